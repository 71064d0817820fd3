"""The meter of a device that is not there, and the stated truth that it draws from."""
