"""Standard input, output and error as the command finds them: closed ones, and an output that cannot be written."""

from __future__ import annotations

import os
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any, ClassVar, Final

CLOSED: Final = "the standard output is closed: send it to a file, or to /dev/null"


class _Output(FileIO):
    """The standard output; remembers why it could not be written, as the error that reaches us does not say of what."""

    error: ClassVar[OSError | None] = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                _Output.error = error
            raise


def prepare() -> str:
    """Open /dev/null in place of a closed input or error; what is wrong if it is the output that is closed, else empty.

    A file that is opened later would otherwise get the number, and what is meant for the stream would go there.
    """
    problem = ""
    if sys.stdin is None:
        _null(0, os.O_RDONLY)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115  (as long as the process)
    if sys.stdout is None:
        _null(1, os.O_WRONLY)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        problem = CLOSED
    else:
        sys.stdout.flush()
        sys.stdout = TextIOWrapper(
            BufferedWriter(_Output(1, "w", closefd=False)),
            encoding=sys.stdout.encoding,
            errors=sys.stdout.errors,
            line_buffering=bool(sys.stdout.line_buffering),
        )
    if sys.stderr is None:
        _null(2, os.O_WRONLY)
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    return problem


def unwritable() -> str:
    """Why what was printed could not be written; empty where it was, or where its reader went away (``| head``)."""
    try:
        sys.stdout.flush()
    except OSError:  # kept by the output, which may have failed before
        give_up()
    error = _Output.error
    return f"the output could not be written: {error.strerror}" if error is not None else ""


def give_up() -> None:
    """Throw away what is still printed or waits to be."""
    _null(sys.stdout.fileno(), os.O_WRONLY)


def give_up_error() -> None:
    """Throw away what is still said on the error output: at its end Python would exit with 120 for words left there."""
    _null(sys.stderr.fileno(), os.O_WRONLY)


def _null(descriptor: int, flags: int) -> None:
    opened = os.open(os.devnull, flags)
    os.dup2(opened, descriptor, inheritable=True)
    if opened != descriptor:
        os.close(opened)
    else:
        os.set_inheritable(descriptor, True)
