"""A GPU that is known exactly: libnvidia-ml.c plays a power trace to anything that reads NVML; fake.py directs it."""
