"""joulefarm: measures and predicts the energy of image generation."""

from farm.version import __version__

__all__ = ["__version__"]
