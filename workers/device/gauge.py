"""What a device draws now and how warm it is, for those who look on. No measurement rests on it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farm.domain import FarmError

if TYPE_CHECKING:
    from workers.device.nvml.device import NvmlDevice

logger = logging.getLogger(__name__)

STALE_PERIODS: Final = 3  # a reading that is older says nothing of now


@dataclass(frozen=True, slots=True)
class Reading:
    """Power and temperature at one moment; None where it is not known."""

    power_watts: float | None = None
    temperature_celsius: float | None = None


UNKNOWN: Final = Reading()


class BoardGauge:
    """Reads one board by NVML: opened when first asked, and anew after it did not answer."""

    def __init__(self, device: int | str) -> None:
        self._device = device
        self._board: NvmlDevice | None = None

    def read(self) -> Reading:
        """Read power, in the best way that the board has, and temperature."""
        from workers.device.nvml.device import NvmlDevice

        try:
            board = self._board = self._board or NvmlDevice(self._device)
            way = board.power_reading()
            return Reading(None if way is None else way[1](), board.temperature_celsius())
        except FarmError:  # the worker itself says that its device is lost
            self.close()
            return UNKNOWN

    def close(self) -> None:
        """Let go of the board; ``read`` opens it again."""
        board, self._board = self._board, None
        if board is not None:
            board.close()


class GaugeThread:
    """Reads a gauge every ``period_seconds`` in a thread of its own, until ``closing`` is set.

    A driver that hangs never holds up who asks for the latest reading: it is unknown then.
    """

    def __init__(self, read: Callable[[], Reading], *, period_seconds: float, closing: threading.Event) -> None:
        self._read = read
        self._period_seconds = period_seconds
        self._closing = closing
        self._latest = (0.0, UNKNOWN)
        self._thread = threading.Thread(target=self._run, name="gauge", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def latest(self) -> Reading:
        """Return what was read last; unknown where that was too long ago."""
        at, reading = self._latest
        return reading if time.monotonic() - at < STALE_PERIODS * self._period_seconds else UNKNOWN

    def _run(self) -> None:
        while True:
            try:
                self._latest = (time.monotonic(), self._read())
            except Exception:
                logger.exception("the device could not be looked at")
            if self._closing.wait(self._period_seconds):
                return
