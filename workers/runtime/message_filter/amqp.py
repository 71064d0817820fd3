"""The message filter in front of RabbitMQ."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import amqp
from amqp import method_framing
from kombu.transport import pyamqp

from workers.runtime.message_filter import content

HEADER_FRAME: Final = 2
BEFORE_PROPERTIES: Final = 12  # bytes of a header frame: class, weight, size of the body
NO_PROPERTIES: Final = b"\0\0"

Consumed = Callable[[amqp.Message], None]


class _Taken(pyamqp.Message):  # type: ignore[misc]  # kombu and Celery have no types
    """A message that the broker has forgotten already: to answer it again means nothing."""

    def ack(self, multiple: bool = False) -> None:
        self._state = "ACK"

    def reject(self, requeue: bool = False) -> None:
        self._state = "REJECTED"  # who takes a dead child's place has the job's row queued again

    requeue = reject


class _Channel(pyamqp.Channel):  # type: ignore[misc]
    """Consumes only while the worker is free: one message is taken, acknowledged, and no more until its job has ended.

    Unacknowledged for longer than the broker's ``consumer_timeout`` (30 minutes), it would end the connection. And
    acknowledged early, a message more would be waiting here while others are free: so the consumer is cancelled first.
    """

    Message = _Taken

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._wanted: dict[str, tuple[str, Consumed]] = {}  # what Celery consumes, by tag
        self._consuming: set[str] = set()  # of these, what the broker knows of
        super().__init__(*arguments, **options)

    def basic_consume(self, *, queue: str, consumer_tag: str, callback: Consumed, **_: Any) -> str:
        self._wanted[consumer_tag] = queue, callback
        self.consume_if_free()
        return consumer_tag

    def basic_cancel(self, consumer_tag: str, **options: Any) -> Any:
        self._wanted.pop(consumer_tag, None)
        self._consuming.discard(consumer_tag)
        return super().basic_cancel(consumer_tag, **options)

    def consume_if_free(self) -> None:
        """Ask the broker for the next message, where no job is under way."""
        if self._consuming == self._wanted.keys() or not self.is_open or not content.is_free():
            return
        for tag, (queue, callback) in self._wanted.items():
            if tag not in self._consuming:
                self._consuming.add(tag)
                take = partial(self._take, queue, callback)
                super().basic_consume(queue=queue, consumer_tag=tag, callback=take, nowait=True)

    def _take(self, queue: str, callback: Consumed, message: amqp.Message) -> None:
        tag, delivery = message.delivery_info["consumer_tag"], message.delivery_tag
        if tag not in self._wanted:
            self.basic_reject(delivery, requeue=True)
            return
        number = _job_id(message)
        if number is None:
            content.drop(queue)
            self.basic_ack(delivery)
            return
        self._consuming.discard(tag)
        super().basic_cancel(tag, nowait=True)
        self.basic_ack(delivery)
        callback(_job_message(number, message))


class _Connection(pyamqp.Connection):  # type: ignore[misc]
    Channel = _Channel

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options, frame_handler=_frame_handler)


class _FilteredTransport:
    """What a filtered transport does otherwise than the library's; in front of one of its classes."""

    Connection = _Connection

    def register_with_event_loop(self, connection: _Connection, loop: Any) -> None:
        super().register_with_event_loop(connection, loop)  # type: ignore[misc]

        def look() -> None:
            if not connection.connected:
                loop.on_tick.discard(look)
                return
            for channel in list(connection.channels.values()):
                if isinstance(channel, _Channel):
                    channel.consume_if_free()

        loop.on_tick.add(look)


class _Transport(_FilteredTransport, pyamqp.Transport):  # type: ignore[misc]
    pass


class _SSLTransport(_FilteredTransport, pyamqp.SSLTransport):  # type: ignore[misc]
    pass


FILTERED: Final = {pyamqp.Transport: _Transport, pyamqp.SSLTransport: _SSLTransport}


def _job_id(message: amqp.Message) -> int | None:
    properties, body = message.properties, message.body
    as_bytes = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)
    return content.number_in(properties.get("content_type"), properties.get("application_headers"), as_bytes)


def _job_message(number: int, original: amqp.Message) -> amqp.Message:
    headers, body = content.parts_of(number)
    filtered = amqp.Message(
        body,
        channel=original.channel,
        content_type=content.JSON,
        content_encoding="utf-8",
        application_headers=headers,
        correlation_id=headers["id"],
    )
    filtered.delivery_info = original.delivery_info
    return filtered


def _frame_handler(connection: amqp.Connection, callback: Callable[..., None]) -> Callable[[Any], bool]:
    """The library's, for which a message that it cannot read has no properties.

    Left to itself it would end the worker, or the connection; the message, which nobody answered, would come again.
    """
    handle: Callable[[Any], bool] = method_framing.frame_handler(connection, callback)

    def on_frame(frame: tuple[int, int, bytes]) -> bool:
        frame_type, channel, data = frame
        if frame_type == HEADER_FRAME and not _is_readable(data):
            return handle((frame_type, channel, data[:BEFORE_PROPERTIES] + NO_PROPERTIES))
        return handle(frame)

    return on_frame


def _is_readable(header: bytes) -> bool:
    try:
        amqp.Message().inbound_header(header)
    except Exception:  # whatever it is, it came from a stranger
        return False
    return True
