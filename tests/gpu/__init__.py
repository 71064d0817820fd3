"""The acceptance on a real GPU: ``make gpu``, or ``python -m tests.gpu`` on a host without a network."""
