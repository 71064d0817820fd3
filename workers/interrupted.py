"""The one exception that ends a measurement half way, whoever asks for that."""

from __future__ import annotations


class Interrupted(BaseException):
    """Raised by a signal's handler to end a measurement. It is no Exception, so that no handler of ordinary errors
    swallows it.

    Attributes:
        why: in words; a worker's are those of ``workers.runtime.interrupt.Why``, a command's the name of a signal.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)
