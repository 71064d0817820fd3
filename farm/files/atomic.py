"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from farm.domain.errors import OperationError, RequestError


@contextmanager
def atomic_write(path: Path, field: str) -> Iterator[Path]:
    """A temporary file beside ``path``, which takes its place at the end; left by an exception, it is deleted.

    Only a plain file is ever replaced, by one that is open to the same users; where ``path`` is a link, the file that
    it points at. A new one is open to whom the user's umask leaves it.

    Raises:
        RequestError: nothing can be written there; it names ``field``, before anything is written.
        OperationError: writing failed, as on a full disk; what was at ``path`` is still there.
    """
    try:
        target = path.resolve()  # what a link points at is written, not the link
        if target.is_dir():
            raise RequestError(field, str(path), "a file, not a folder")
        if target.exists() and not target.is_file():  # it would be replaced, as /dev/null for everybody
            raise RequestError(field, str(path), "a plain file, not a device, pipe or socket")
        mode = target.stat().st_mode & 0o7777 if target.exists() else None
        temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}{target.suffix}")
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # less what the user's umask takes
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(field, str(path), f"a file that can be written ({reason})") from None
    try:
        yield temporary
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(target)
    except OSError as error:
        raise OperationError(f"{path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; nobody but its owner can read it at any time.

    OperationError where it cannot be written, as on a full disk; what was at ``path`` is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise OperationError(f"{path}: cannot be written: {error.strerror or error}") from error
