"""A whole farm on this machine: its processes, who keeps them running, and the demonstration."""
