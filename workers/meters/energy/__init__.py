"""From samples to joules: idle, ticks, attribution, uncertainty. Pure functions on numpy arrays."""
