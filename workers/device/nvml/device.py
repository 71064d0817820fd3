"""One NVIDIA device, read again and again through NVML.

A reading that this device, driver or user cannot have is None, and why is kept in ``missing``; a device that went away
raises DeviceLost. nvidia-ml-py (module ``pynvml``) does the calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import pynvml as nvml

from farm.domain import DeviceLost, MeterError, RequestError
from workers.device.board import Device
from workers.device.nvml import readings
from workers.device.nvml.errors import (
    LACKING,
    NO_SUCH_DEVICE,
    Meaning,
    code_of,
    device_remedy,
    insist,
    meaning_of,
    translate_errors,
    unusable,
)

T = TypeVar("T")


class NvmlDevice:
    """Reads one device, by NVML index or UUID. Close it when done: NVML counts its users.

    Raises RequestError where there is no such device, DeviceLost where it was lost (each reading too), and MeterError
    where it, or NVML as a whole, does not answer.
    """

    def __init__(self, device: int | str) -> None:
        with translate_errors():
            insist(nvml.nvmlInit)
        self.missing: dict[str, str] = {}
        self._label = f"device {device}"
        self._open = True
        try:
            self._handle = self._find(device)
            self.identity = Device(
                index=self._ask("index", lambda h: int(nvml.nvmlDeviceGetIndex(h))),
                name=self._ask("name", readings.name) or "unknown device",
                uuid=self._ask("uuid", readings.uuid),
                pci_bus_id=self._ask("pci", readings.pci_bus_id),
            )
            self._label = f"device {self.identity.name}"
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._open:
            self._open = False
            with contextlib.suppress(nvml.NVMLError):
                nvml.nvmlShutdown()

    def counter_joules(self) -> float | None:
        return self._ask("counter", lambda h: nvml.nvmlDeviceGetTotalEnergyConsumption(h) / 1000)

    def instant_watts(self) -> float | None:
        return self._field("instant_power", nvml.NVML_FI_DEV_POWER_INSTANT)

    def average_watts(self) -> float | None:
        return self._field("average_power", nvml.NVML_FI_DEV_POWER_AVERAGE)

    def usage_watts(self) -> float | None:
        """nvmlDeviceGetPowerUsage: what it is (an average of 1 s, or the present) depends on the board."""
        return self._ask("power_usage", lambda h: nvml.nvmlDeviceGetPowerUsage(h) / 1000)

    def power_reading(self) -> tuple[str, Callable[[], float | None]] | None:
        """The best way of reading power that the device has, by its name; None where it has none."""
        ways = {"instant": self.instant_watts, "usage": self.usage_watts, "average": self.average_watts}
        return next(((name, read) for name, read in ways.items() if read() is not None), None)

    def temperature_celsius(self) -> int | None:
        return self._ask("temperature", lambda h: int(nvml.nvmlDeviceGetTemperature(h, nvml.NVML_TEMPERATURE_GPU)))

    def sm_clock_mhz(self) -> int | None:
        return self._ask("sm_clock", lambda h: int(nvml.nvmlDeviceGetClockInfo(h, nvml.NVML_CLOCK_SM)))

    def clock_limit_mhz(self) -> int | None:
        """The most that the multiprocessors are allowed: the chip's own maximum, or less where somebody set it.

        NVML has no question for clocks that `nvidia-smi --lock-gpu-clocks` locked.
        """
        graphics = nvml.NVML_CLOCK_GRAPHICS
        largest = self._ask("largest_clock", lambda h: int(nvml.nvmlDeviceGetMaxClockInfo(h, nvml.NVML_CLOCK_SM)))
        customer = self._ask("customer_clock", lambda h: int(nvml.nvmlDeviceGetMaxCustomerBoostClock(h, graphics)))
        default = self._ask("default_clock", lambda h: int(nvml.nvmlDeviceGetDefaultApplicationsClock(h, graphics)))
        application = self._ask("application_clock", lambda h: int(nvml.nvmlDeviceGetApplicationsClock(h, graphics)))
        if default is None or application == default:
            application = None  # no limit: boards run faster than the clock of applications that they come with
        return min((limit for limit in (largest, customer, application) if limit), default=None)

    def memory_clock_mhz(self) -> int | None:
        return self._ask("memory_clock", lambda h: int(nvml.nvmlDeviceGetClockInfo(h, nvml.NVML_CLOCK_MEM)))

    def throttle_reasons(self) -> int | None:
        return self._ask("throttle_reasons", lambda h: int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(h)))

    def power_limit_watts(self) -> float | None:
        return self._ask("power_limit", readings.power_limit_watts)

    def performance_state(self) -> int | None:
        return self._ask("performance_state", lambda h: int(nvml.nvmlDeviceGetPerformanceState(h)))

    def persistence(self) -> bool | None:
        return self._ask("persistence", readings.persistence)

    def mig(self) -> bool | None:
        return self._ask("mig", readings.mig)

    def processes(self) -> frozenset[int] | None:
        """Ids of the processes that compute on the device, where they can be seen."""
        return self._ask("processes", readings.compute_processes)

    def capability(self) -> tuple[int, int] | None:
        """CUDA compute capability."""

        def read(handle: Any) -> tuple[int, int]:
            major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
            return int(major), int(minor)

        return self._ask("capability", read)

    def driver(self) -> str | None:
        return self._ask("driver", lambda h: str(nvml.nvmlSystemGetDriverVersion()))

    def _field(self, name: str, field: int) -> float | None:
        def read(handle: Any) -> float:
            value = nvml.nvmlDeviceGetFieldValues(handle, [field])[0]
            if value.nvmlReturn != nvml.NVML_SUCCESS:
                raise nvml.NVMLError(value.nvmlReturn)
            return float(value.value.uiVal) / 1000

        return self._ask(name, read)

    def _ask(self, ability: str, read: Callable[[Any], T]) -> T | None:
        """A reading, or None where there is none; what is missing for good is not asked for again."""
        if ability in self.missing:
            return None
        try:
            return read(self._handle)
        except nvml.NVMLError as error:
            meaning = meaning_of(error)
            if meaning is Meaning.PASSING:
                return None
            if meaning is not Meaning.MISSING:
                raise DeviceLost(f"{self._label}: {error}") from None
            self.missing[ability] = str(error)
        except LACKING as error:
            self.missing[ability] = str(error)
        return None

    def _find(self, device: int | str) -> Any:
        def ask() -> Any:
            if isinstance(device, int) or device.isdecimal():
                return nvml.nvmlDeviceGetHandleByIndex(int(device))
            return nvml.nvmlDeviceGetHandleByUUID(device)

        try:
            return insist(ask)
        except nvml.NVMLError as error:
            if code_of(error) in NO_SUCH_DEVICE:
                raise RequestError("device", device, f"{_present()} ({error})") from None
            meaning = meaning_of(error)
            if meaning is Meaning.UNUSABLE:
                raise unusable(error) from None
            error_type = DeviceLost if meaning is Meaning.LOST else MeterError
            raise error_type(f"{self._label} does not answer: {error}: {device_remedy(device, error)}") from None


def _present() -> str:
    try:
        count = int(nvml.nvmlDeviceGetCount())
    except nvml.NVMLError:
        return "an index or UUID that NVML knows"
    return f"an index from 0 to {count - 1}, or a UUID" if count else "there is no NVIDIA device here"
