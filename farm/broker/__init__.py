"""The broker: the Celery app and its queues, who may do what on it, and a server that needs no setting up."""
