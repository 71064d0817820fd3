"""The only package that writes SQL: the engine, the tables, their migrations, and the statements, one concern a module.

Their functions take an open connection, so that several can share one transaction; ``farm.jobs``, ``farm.sweeps`` and
``farm.results`` are what the rest of the project calls.
"""
