"""NVML behind one door: its errors translated in one table, its readings in SI units, each ability optional."""
