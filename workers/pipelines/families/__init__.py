"""The pipeline families, one module each, which defines ``FAMILY``."""
