"""The filter between the broker and Celery: of a message, one positive integer is let in, and nothing else.

A Celery message can ask for a lot: another task, tasks to call afterwards, time limits, a later time, a compressed
body that unpacks to gigabytes, replies. Whoever can write to the broker could use all of it against a worker. So every
message is taken apart before Celery sees it: where it names a job, a new message is made from its number alone;
everything else is dropped, in one line of the log that repeats none of it.
"""

from __future__ import annotations

import base64
import json
import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any, Final

from celery.worker.consumer import Consumer
from kombu import Connection
from kombu.transport import redis, virtual
from redis.exceptions import RedisError, ResponseError

from farm.broker.app import MEASURE
from farm.domain.job import MAX_JOB_ID

logger = logging.getLogger(__name__)

REFUSED_SECONDS: Final = 0.5  # before a broker is asked again that answered with an error
COMPLAINT_SECONDS: Final = 30.0  # between two lines of the log about it
LONGEST_BODY: Final = 4096  # characters; the coordinator's are about 150


def job_id(message: object) -> int | None:
    """The number in a message as the broker holds it; None where it names no job."""
    match message:
        case {
            "content-type": "application/json",
            "headers": {"task": task, **headers},
            "body": str(body),
        } if task == MEASURE and "compression" not in headers and len(body) <= LONGEST_BODY:
            try:
                content = json.loads(base64.b64decode(body, validate=True))
            except (ValueError, RecursionError):
                return None
            match content:
                case [[number], kwargs, _] if type(number) is int and 0 < number <= MAX_JOB_ID and kwargs == {}:
                    return number
    return None


def job_message(number: int, queue: str) -> dict[str, Any]:
    """A Celery message (protocol 2, as Redis holds it) that says a job's id and asks for nothing else."""
    name = str(uuid.uuid4())
    body = json.dumps([[number], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    return {
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"lang": "py", "task": MEASURE, "id": name, "root_id": name, "argsrepr": f"({number},)"},
        "properties": {
            "correlation_id": name,
            "delivery_mode": 2,
            "delivery_tag": str(uuid.uuid4()),
            "delivery_info": {"exchange": "", "routing_key": queue},
            "body_encoding": "base64",
            "priority": 0,
        },
        "body": base64.b64encode(body.encode()).decode(),
    }


class _QoS(redis.QoS):  # type: ignore[misc]  # kombu and Celery have no types
    def restore_visible(self, *_: object, **__: object) -> None:
        """Forget messages that workers took long ago and never finished, rather than deliver them again: what was
        lost is sent again from SQL, and what lies in these shared keys may be anybody's."""
        with self.channel.conn_or_acquire() as client:
            oldest = time.time() - self.visibility_timeout
            tags = client.zrange(self.unacked_index_key, "-inf", oldest, byscore=True, offset=0, num=100)
            if tags:
                client.pipeline().zrem(self.unacked_index_key, *tags).hdel(self.unacked_key, *tags).execute()

    def append(self, message: Any, delivery_tag: str) -> None:
        """Take a message, also where the broker cannot note that it was taken: SQL knows what came of it."""
        try:
            super().append(message, delivery_tag)
        except (RedisError, OSError) as error:
            logger.warning("the broker could not note that a message was taken: %s", error)
            virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        with self._broker_may_be_gone(delivery_tag):
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        with self._broker_may_be_gone(delivery_tag):
            super().reject(delivery_tag, requeue=requeue)

    @contextmanager
    def _broker_may_be_gone(self, delivery_tag: str) -> Iterator[None]:
        """Count a message as answered even where the broker cannot be told.

        Left to itself, kombu would count it as taken for ever: the prefetch limit reached, the worker would not ask for
        another, and so never notice that its connection is gone.
        """
        try:
            yield
        except (RedisError, OSError) as error:
            logger.warning("the broker could not be told that a message was answered: %s", error)
            self._quick_ack(delivery_tag)


class _FilteredChannel:
    """What a filtered channel does otherwise than the library's; in front of one of its classes."""

    QoS = _QoS

    _complained = float("-inf")

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except ResponseError as error:  # it is there, and refuses: a replica, full, loading
            if time.monotonic() - self._complained > COMPLAINT_SECONDS:
                self._complained = time.monotonic()
                logger.warning("the broker gives no messages, waiting: %s", error)
            time.sleep(REFUSED_SECONDS)
            raise Empty from None
        except (ValueError, RecursionError):  # no JSON, or too deep: it has left the broker, nothing is to be undone
            logger.warning("a message that cannot be read was dropped")
            raise Empty from None


class _FilteredTransport:
    """What a filtered transport does otherwise than the library's; in front of one of its classes."""

    def _deliver(self, message: object, queue: str) -> None:
        number = job_id(message)
        if number is None:
            logger.warning("a message on %s that is no job's id was dropped", queue)
        else:
            super()._deliver(job_message(number, queue), queue)  # type: ignore[misc]


class _Channel(_FilteredChannel, redis.Channel):  # type: ignore[misc]  # kombu and Celery have no types
    pass


class _SentinelChannel(_FilteredChannel, redis.SentinelChannel):  # type: ignore[misc]
    pass


class _Transport(_FilteredTransport, redis.Transport):  # type: ignore[misc]
    Channel = _Channel


class _SentinelTransport(_FilteredTransport, redis.SentinelTransport):  # type: ignore[misc]
    Channel = _SentinelChannel


FILTERED: Final = {redis.Transport: _Transport, redis.SentinelTransport: _SentinelTransport}


class FilteredConsumer(Consumer):  # type: ignore[misc]  # kombu and Celery have no types
    """Celery's consumer, reading through the filter. (Redis and Valkey; over AMQP, Celery's own checks and those of
    ``MessageHandler.handle`` are the ones there are.)"""

    def connection_for_read(self, heartbeat: float | None = None) -> Connection:
        connection = self.app.connection_for_read(heartbeat=heartbeat)
        filtered = FILTERED.get(connection.get_transport_cls())
        if filtered is not None:
            connection.get_transport_cls = lambda: filtered  # its name in the log stays that of the URL
        return self.ensure_connected(connection)
