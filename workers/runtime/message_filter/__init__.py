"""The filter between the broker and Celery: of a message, one positive integer is let in, and nothing else.

A Celery message can ask for a lot: another task, tasks to call afterwards, time limits, a later time, a compressed
body that unpacks to gigabytes, replies. Whoever can write to the broker could use all of it against a worker. So every
message is taken apart before Celery sees it: where it names a job, a new message is made from its number alone;
everything else is dropped, in one line of the log that repeats none of it.

A worker takes a message only while it is free, and a message that it took is gone from the broker at once: no broker
waits for an answer while a job runs for hours, and none hoards messages on a busy worker. What is lost with a worker is
sent again from SQL. Redis and RabbitMQ are alike in this.
"""

from __future__ import annotations

from typing import Final

from celery.worker.consumer import Consumer
from kombu import Connection

from workers.runtime.message_filter import amqp, redis

FILTERED: Final = redis.FILTERED | amqp.FILTERED


class FilteredConsumer(Consumer):  # type: ignore[misc]  # kombu and Celery have no types
    """Celery's consumer, reading through the filter."""

    def connection_for_read(self, heartbeat: float | None = None) -> Connection:
        connection = self.app.connection_for_read(heartbeat=heartbeat)
        filtered = FILTERED[connection.get_transport_cls()]
        connection.get_transport_cls = lambda: filtered  # its name in the log stays that of the URL
        return self.ensure_connected(connection)
