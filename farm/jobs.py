"""What workers and the coordinator may do to jobs. The database is the truth; this is the only door to it for them."""
