"""A lab of hosts on this machine: each has namespaces of its own; a switch joins them, whose cables can be pulled."""
