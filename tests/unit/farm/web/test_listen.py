"""Where the page listens."""

from __future__ import annotations

import socket

import pytest

from farm.domain import RequestError
from farm.web.listen import listen


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_nothing_of_an_answer_is_held_back(host):
    with listen(host, 0) as listener, socket.create_connection(listener.getsockname()[:2]):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_taken_port_is_said():
    with listen(port=0) as listener, pytest.raises(RequestError, match="it is taken"):
        listen(port=listener.getsockname()[1])
