"""Hold one device alone, and show this process and its children no other: how every command that computes takes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from farm.domain import OperationError, RequestError
from workers.device import host
from workers.device.host import ForeignPolicy, Host
from workers.device.lock import DeviceLock


@contextmanager
def pinned(device: Host) -> Iterator[None]:
    """Lock a device that was found, and show it alone. To be entered before torch is imported or a worker forks.

    OperationError where somebody else measures on it.
    """
    with DeviceLock(device.uuid):
        shown = device.pinned()
        before = {name: os.environ.get(name) for name in shown}
        os.environ.update(shown)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


@contextmanager
def pinned_to(gpu: str, device: int, *, foreign: ForeignPolicy) -> Iterator[Host]:
    """Find a device, make sure that it is of the catalog's type and free, and hold it: see ``host.verify``.

    Go on by its UUID: what is number 0 among the devices visible here need not be so for NVML.
    """
    try:
        host.inspect()
    except OperationError as error:
        raise RequestError("gpu", gpu, f"no such device here ({error}): --gpu cpu, or --simulate") from None
    verified = host.verify(gpu, device, foreign=foreign)
    with pinned(verified):
        yield verified
