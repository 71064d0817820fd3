"""Bars a user of the broker and ends the connections that it has open."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import redis

from farm.broker import acl
from farm.broker.app import resolve_url, tls_options
from farm.broker.embedded import EmbeddedBroker
from farm.domain.errors import OperationError, RequestError
from farm.settings import Settings
from farm.urls import redact

REDIS = ("redis:", "rediss:", "redis+socket:")


@dataclass(frozen=True, slots=True)
class Barred:
    """What was done to a user."""

    sessions_ended: int
    kept: bool  # also over a restart of the server


def revoke(settings: Settings, name: str) -> Barred | None:
    """Bar a user; None where the broker has none of that name, or there is no broker.

    Raises:
        RequestError: the user is the one that is asked as, or the server is none that can be asked.
        OperationError: the server does not answer, or our user there may not do that.
    """
    embedded = EmbeddedBroker(settings) if settings.broker() is None else None
    if embedded is not None and not embedded.running:
        return None
    url = resolve_url(settings, user=acl.OWNER)
    if not url.startswith(REDIS):
        return None  # RabbitMQ's users are not reached by its messages: rabbitmqctl
    options = tls_options(url, settings) if url.startswith("rediss:") else {}
    place = url.replace("redis+socket:", "unix:")
    client = redis.Redis.from_url(place, socket_connect_timeout=5, socket_timeout=10, **options)
    try:
        barred = _revoke(client, name)
    except redis.RedisError as error:
        raise OperationError(f"broker {redact(url)}: {error} (it needs a user with +acl and +client)") from None
    finally:
        client.close()
    if barred is not None and embedded is not None:
        embedded.forget(name)
        return Barred(barred.sessions_ended, kept=True)
    return barred


def _revoke(client: redis.Redis, name: str) -> Barred | None:
    if name not in client.acl_users():
        return None
    if name == client.acl_whoami():
        raise RequestError("NAME", name, "another user than the one that asks")
    client.acl_setuser(name, enabled=False, reset_passwords=True)
    ended = client.execute_command("CLIENT KILL USER", name)
    kept = False
    with contextlib.suppress(redis.ResponseError):  # the server was started without an ACL file
        client.acl_save()
        kept = True
    return Barred(int(ended), kept)
