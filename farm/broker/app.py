"""The Celery app and its queues, one a GPU type. A message is one positive integer, the id of a job.

Everything that a job consists of is in SQL, so whoever can write to the broker can at most make a worker look at a job
that exists. Messages may be lost, doubled or replayed; none of it matters (docs/decisions; the dispatcher re-sends).
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from celery import Celery
from kombu.exceptions import ChannelError, ConnectionError, KombuError

from farm.broker import acl
from farm.broker.embedded import EmbeddedBroker
from farm.domain.errors import FarmError, OperationError, RequestError
from farm.files.paths import is_file
from farm.settings import Settings
from farm.urls import is_plain, redact

logger = logging.getLogger(__name__)

MEASURE: Final = "joulefarm.measure"  # the one task
SCHEMES: Final = ("redis", "rediss", "redis+socket", "sentinel", "amqp", "amqps")
MASTER: Final = "master_name"  # what a sentinel:// URL calls the Redis that is asked for, and what it mostly is called
USUAL_MASTER: Final = "mymaster"
NOT_FOUND: Final = 404  # AMQP's codes
REFUSED: Final = 403
# A peer that dies without a word is noticed within 15 s, rather than after the system's two hours. (Linux)
_KEEPALIVE: Final = {
    getattr(socket, name): value
    for name, value in (
        ("TCP_KEEPIDLE", 5),
        ("TCP_KEEPINTVL", 2),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 10_000),  # milliseconds
    )
    if hasattr(socket, name)
}


def resolve_url(settings: Settings, *, user: str = acl.COORDINATOR) -> str:
    """FARM_BROKER_URL, else the embedded broker of this home as ``user``; OperationError when there is neither.

    RequestError for a URL that cannot be one; it is never printed, since it may hold a password.
    """
    url = settings.broker()
    if url is None:
        url = EmbeddedBroker(settings).url_of(user)
        if url is None:
            raise OperationError("no broker: run `farm up`, or set FARM_BROKER_URL")
        return url
    if not _is_url(url):
        example = "redis://user:password@host:6379/0"
        remedy = f"a URL such as {example} ({', '.join(SCHEMES)}), special characters of a password percent-encoded"
        raise RequestError("FARM_BROKER_URL", redact(url), remedy)
    return url


def _is_url(url: str) -> bool:
    """Whether this can be a broker's URL.

    The client library, asked instead, repeats what it takes for a port, which may be a part of a password.
    """
    return all(_is_single_url(part) for part in url.split(";"))


def _is_single_url(url: str) -> bool:
    if not is_plain(url):
        return False
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or "password" in parse_qs(parts.query) or parts.fragment:
        return False
    if parts.scheme == "redis+socket":
        return not parts.hostname and parts.path.startswith("/")
    if parts.scheme.startswith("amqp"):
        return bool(parts.hostname) and parts.port != 0
    return bool(parts.hostname) and parts.port != 0 and re.fullmatch(r"/?\d*", parts.path) is not None


class _App(Celery):  # type: ignore[misc]  # Celery has no types
    """Celery that connects where the farm says, whatever the environment says (CELERY_BROKER_URL and its like)."""

    newest_url: Callable[[], str]

    def connection_for_read(self, url: str | None = None, **options: Any) -> Any:
        return super().connection_for_read(self.newest_url(), **options)

    def connection_for_write(self, url: str | None = None, **options: Any) -> Any:
        return super().connection_for_write(self.newest_url(), **options)


def make_app(url: str, settings: Settings, newest_url: Callable[[], str] | None = None) -> Celery:
    """The Celery app that coordinator and workers share. One place, because the shortest visibility timeout of all
    connected apps would win.

    ``newest_url`` is asked whenever a connection is made: a password may have changed since ``url`` was read.
    """
    place, options = _without_options(url)

    def current() -> str:
        nonlocal place
        try:
            if newest_url is not None:
                place = _without_options(newest_url())[0]
        except FarmError as error:  # its file is written this moment
            logger.warning("the broker's URL stays as it was: %s", error)
        return place

    app = _App("joulefarm", broker=place, set_as_current=False)
    app.newest_url = current
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,  # a killed child's message is delivered again
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # it would kill a good measurement
        worker_proc_alive_timeout=300,  # importing torch takes longer than the default 4 s
        worker_enable_remote_control=False,  # anybody with the broker's password could end workers; SQL drains them
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # so RabbitMQ says that a password has changed
        broker_transport_options={
            "visibility_timeout": settings.visibility_timeout_seconds,  # lost jobs are the reaper's business, not its
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_keepalive": True,
            "socket_keepalive_options": _KEEPALIVE,
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "max_retries": 1,  # the coordinator's own loop retries
            **options,
        },
    )
    if url.startswith("amqp"):
        app.conf.broker_transport_options |= {"connect_timeout": 5, "socket_settings": _KEEPALIVE}
    if url.startswith(("rediss:", "amqps:")):
        app.conf.broker_use_ssl = tls_options(url, settings)
    return app


def _without_options(url: str) -> tuple[str, dict[str, Any]]:
    """A URL as the client library takes it, and what it takes beside it."""
    if not url.startswith("sentinel:"):
        return url, {}
    servers, names = [], []
    for server in url.split(";"):
        parts = urlsplit(server)
        names += parse_qs(parts.query).get(MASTER, [])
        servers.append(urlunsplit(parts._replace(query="")))
    return ";".join(servers), {MASTER: names[0] if names else USUAL_MASTER}


def tls_options(url: str, settings: Settings) -> dict[str, Any]:
    """The options of TLS: the server must prove who it is, while the client library's defaults take any certificate."""
    options: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED}
    if settings.broker_ca is not None:
        if not is_file(settings.broker_ca):
            raise RequestError("FARM_BROKER_CA", str(settings.broker_ca), "a file with certificates (PEM)")
        options["ca_certs"] = str(settings.broker_ca)
    if url.startswith("amqps:"):
        return options | {"server_hostname": urlsplit(url).hostname}  # without it, any host's certificate would do
    return {f"ssl_{name}": value for name, value in (options | {"check_hostname": True}).items()}


def check_queue(url: str, settings: Settings, queue: str) -> None:
    """Check, before a worker listens, that it may use its queue. RequestError where the broker's user may not,
    OperationError where the broker does not answer. Once listening, a worker waits for a broker that went away."""
    from redis.exceptions import NoPermissionError

    app = make_app(url, settings)
    with app.connection_for_read() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0.1, timeout=5)
            _messages_in(connection, queue)
            if url.startswith("amqp"):  # RabbitMQ lets anybody look
                app.amqp.queues[queue].bind(connection.default_channel).declare()
        except _connection_errors() as error:
            if isinstance(error, NoPermissionError) or (connection.connected and _code(error) == REFUSED):
                remedy = f"a user that may use the queue {queue} (docs/security.md)"
                raise RequestError("FARM_BROKER_URL", redact(url), remedy) from None
            raise _no_answer(url, error) from None


class Broker:
    """The coordinator's side: it sends messages and sees how many wait.

    Every method raises OperationError, without the URL's secret, when the broker cannot be reached.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = resolve_url(settings)
        self._app = make_app(self._url, settings, lambda: resolve_url(settings))
        self._connection: Any = None

    def send(self, queue: str, job_ids: Sequence[int]) -> None:
        """Put one message for each job on its queue."""
        with self._reachable() as connection:
            producer = connection.Producer(auto_declare=False)
            for job_id in job_ids:
                self._app.send_task(
                    MEASURE, args=[job_id], queue=queue, producer=producer, retry=False, ignore_result=True
                )

    def waiting(self, queue: str) -> int:
        """How many messages of a queue no worker has taken yet."""
        with self._reachable() as connection:
            return _messages_in(connection, queue)

    def ping(self) -> None:
        """Ask the broker for an answer; returns when it came."""
        with self._reachable() as connection:
            connection.default_channel  # noqa: B018 - opening it speaks to the server

    def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.release()

    @contextmanager
    def _reachable(self) -> Iterator[Any]:
        errors = _connection_errors()
        try:
            if self._connection is None:
                connection = self._app.connection_for_write()
                connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0.1, timeout=10)
                self._connection = connection
            yield self._connection
        except errors as error:
            self._forget()
            raise _no_answer(self._url, error) from None

    def _forget(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):  # closing what is broken; the error that matters is raised already
                connection.collapse()


def _messages_in(connection: Any, queue: str) -> int:
    try:
        return int(connection.default_channel.queue_declare(queue=queue, passive=True).message_count)
    except ChannelError as error:
        if _code(error) != NOT_FOUND:
            raise
        return 0  # Redis keeps no empty queues; on RabbitMQ nobody has declared it yet


def _code(error: BaseException) -> int:
    """AMQP's code of an error, which Redis's channel imitates; 0 where it has none."""
    return int(getattr(error, "reply_code", None) or 0)


def _no_answer(url: str, error: BaseException) -> OperationError:
    """An error in one line, without the URL's secret, which client libraries may repeat."""
    reason = " ".join(str(error).split()) or type(error).__name__
    password = re.search(r"//[^:]*:(.+)@", url, flags=re.DOTALL)
    for secret in {password.group(1), unquote(password.group(1))} if password else ():
        reason = reason.replace(secret, "***")
    return OperationError(f"broker {redact(url)} does not answer: {reason}")


def _connection_errors() -> tuple[type[BaseException], ...]:
    from redis.exceptions import RedisError

    return (KombuError, ChannelError, ConnectionError, RedisError, OSError)


def register_measure(app: Celery, run: Callable[[object], None]) -> None:
    """Make ``run`` the task that a message starts. It is given the message's argument unchecked."""

    def measure(job_id: object) -> None:
        run(job_id)

    app.task(name=MEASURE, ignore_result=True, acks_late=True)(measure)
