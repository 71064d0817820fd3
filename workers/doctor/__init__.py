"""Can this host measure? Quick checks of the host, and deep ones of a device and its meter."""
