"""The coordinator: keeps the queues full enough, takes back lost jobs, has the laws fitted again."""
