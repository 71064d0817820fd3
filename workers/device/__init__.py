"""The device of this host: which one is ours, what NVML says of it, who may use it, what the worker is called."""
