"""The commands of a GPU host: ``farm measure``, ``farm weights``, ``farm meter`` and ``farm worker``."""
