"""``python -m farm`` is the command ``farm``."""

from farm.cli import main

main()
