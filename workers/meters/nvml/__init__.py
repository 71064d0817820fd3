"""The meter that reads NVIDIA GPUs through NVML: probe, sampler, and what a log amounts to."""
