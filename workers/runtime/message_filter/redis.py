"""The message filter in front of Redis and Valkey."""

from __future__ import annotations

import base64
import json
import logging
import time
import uuid
from queue import Empty
from typing import Any, Final

from kombu.transport import redis, virtual
from redis.exceptions import RedisError, ResponseError

from workers.runtime.message_filter import content

logger = logging.getLogger(__name__)

REFUSED_SECONDS: Final = 0.5  # before a broker is asked again that answered with an error
COMPLAINT_SECONDS: Final = 30.0  # between two lines of the log about it
LONGEST_BODY: Final = content.LONGEST_BODY * 4 // 3 + 4  # in base64


def job_id(message: object) -> int | None:
    """The number in a message as Redis holds it; None where it names no job."""
    match message:
        case {"content-type": content_type, "headers": headers, "body": str(body)} if len(body) <= LONGEST_BODY:
            try:
                decoded = base64.b64decode(body, validate=True)
            except ValueError:
                return None
            return content.number_in(content_type, headers, decoded)
    return None


def job_message(number: int, queue: str) -> dict[str, Any]:
    """A message as Redis holds it that says a job's id and asks for nothing else."""
    headers, body = content.parts_of(number)
    return {
        "content-type": content.JSON,
        "content-encoding": "utf-8",
        "headers": headers,
        "properties": {
            "correlation_id": headers["id"],
            "delivery_mode": 2,
            "delivery_tag": str(uuid.uuid4()),
            "delivery_info": {"exchange": "", "routing_key": queue},
            "body_encoding": "base64",
            "priority": 0,
        },
        "body": base64.b64encode(body.encode()).decode(),
    }


class _QoS(virtual.QoS):  # type: ignore[misc]  # kombu and Celery have no types
    """What was taken is gone from the broker: no key holds notes of it, to be restored by whoever sees them."""

    restore_at_shutdown = False

    def can_consume(self) -> bool:
        return content.is_free() and super().can_consume()

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Answer a message; ``requeue`` puts it back where it was, unless the broker is away."""
        if requeue:
            message = self.get(delivery_tag)
            try:
                with self.channel.conn_or_acquire() as client:
                    client.rpush(message.delivery_info["routing_key"], json.dumps(message._raw))
            except (RedisError, OSError) as error:
                logger.warning("the broker does not take a message back: %s", error)
        self._quick_ack(delivery_tag)

    def restore_visible(self, *_: object, **__: object) -> None:
        """Nothing: kombu asks for it again and again."""


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
            content.drop(queue)
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
