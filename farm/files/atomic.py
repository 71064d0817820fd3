"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from farm.domain.errors import OperationError, RequestError


@contextmanager
def atomic_write(path: Path, field: str) -> Iterator[Path]:
    """A temporary file beside ``path``, which takes its place at the end; left by an exception, it is deleted.

    Raises:
        RequestError: nothing can be written there; it names ``field``, before anything is written.
        OperationError: writing failed, as on a full disk; what was at ``path`` is still there.
    """
    if path.is_dir():
        raise RequestError(field, str(path), "a file, not a folder")
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=path.suffix)
    except OSError as error:
        raise RequestError(field, str(path), f"a file that can be written ({error.strerror})") from None
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise OperationError(f"{path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
