"""NVML behind one door: its errors translated in one table, its readings in SI units, each ability optional.

``NvmlDevice`` reads one device again and again: a reading that this device, driver or user cannot have is None, and why
is kept in ``missing``; a device that went away raises DeviceLost. ``read_host`` asks once what boards there are, and
asks again where an error may pass. Both use the same readings. nvidia-ml-py (module ``pynvml``) does the calls.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final, TypeVar

import pynvml as nvml

from farm.domain import DeviceLost, MeterError, RequestError
from workers.device.board import AnyDevice, Device, DeviceFacts, HostFacts, SilentDevice

T = TypeVar("T")


class Meaning(Enum):
    """What an NVML error says about the one who asked."""

    MISSING = "missing"  # never here: do without
    PASSING = "passing"  # not now: ask again
    LOST = "lost"  # the device is gone
    UNUSABLE = "unusable"  # NVML as a whole does not work


# NVML return code -> what it means. Codes that are not named are passing: logged, and no reading.
MEANINGS: Final[dict[int, Meaning]] = {
    nvml.NVML_ERROR_NOT_SUPPORTED: Meaning.MISSING,
    nvml.NVML_ERROR_FUNCTION_NOT_FOUND: Meaning.MISSING,
    nvml.NVML_ERROR_NO_PERMISSION: Meaning.MISSING,
    nvml.NVML_ERROR_INVALID_ARGUMENT: Meaning.MISSING,
    nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: Meaning.MISSING,
    nvml.NVML_ERROR_DEPRECATED: Meaning.MISSING,
    nvml.NVML_ERROR_GPU_IS_LOST: Meaning.LOST,
    nvml.NVML_ERROR_RESET_REQUIRED: Meaning.LOST,
    nvml.NVML_ERROR_NOT_FOUND: Meaning.LOST,
    nvml.NVML_ERROR_UNINITIALIZED: Meaning.UNUSABLE,
    nvml.NVML_ERROR_LIBRARY_NOT_FOUND: Meaning.UNUSABLE,
    nvml.NVML_ERROR_DRIVER_NOT_LOADED: Meaning.UNUSABLE,
    nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: Meaning.UNUSABLE,
}

# What may pass is asked again after so many seconds: a driver that wakes up, a device that another program initialises.
PAUSES: Final = (0.05, 0.15, 0.3, 0.5)

# Number in NVML -> the name that farm/catalog uses.
ARCHITECTURES: Final = {5: "Volta", 6: "Turing", 7: "Ampere", 8: "Ada", 9: "Hopper", 10: "Blackwell"}

# What to do where NVML as a whole cannot be used.
REMEDIES: Final[dict[int, str]] = {
    nvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no NVIDIA driver is installed here (libnvidia-ml.so.1 was not found)",
    nvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is installed but not loaded: try nvidia-smi, or reboot",
    nvml.NVML_ERROR_NO_PERMISSION: "this user may not open /dev/nvidia*: check groups or the container's devices",
    nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the driver was updated under the running kernel module: reboot",
}

# Clock event reasons -> flag of a measurement. A hardware slowdown that names no cause is taken for the usual one.
THROTTLES: Final[dict[int, str]] = {
    nvml.nvmlClocksThrottleReasonSwThermalSlowdown: "throttled_thermal",
    nvml.nvmlClocksThrottleReasonHwThermalSlowdown: "throttled_thermal",
    nvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "throttled_brake",
    nvml.nvmlClocksThrottleReasonSwPowerCap: "throttled_power_cap",
}
_SLOWDOWN: Final = nvml.nvmlClocksThrottleReasonHwSlowdown
_SLOWDOWN_CAUSES: Final = (
    nvml.nvmlClocksThrottleReasonHwThermalSlowdown | nvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown
)


def throttle_flags(reasons: Iterable[int]) -> tuple[str, ...]:
    """Flags for masks of clock event reasons."""
    flags: dict[str, None] = {}
    for mask in reasons:
        flags |= {flag: None for bit, flag in THROTTLES.items() if mask & bit}
        if mask & _SLOWDOWN and not mask & _SLOWDOWN_CAUSES:
            flags["throttled_thermal"] = None
    return tuple(flags)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise MeterError, with what to do, for an error that NVML answers to what concerns no single device."""
    try:
        yield
    except nvml.NVMLError as error:
        raise _unusable(error) from None


def read_host() -> HostFacts:
    """The driver and every device that NVML counts. MeterError where NVML cannot be used at all."""
    with translate_errors():
        insist(nvml.nvmlInit)
        try:
            count = insist(nvml.nvmlDeviceGetCount)
            return HostFacts(
                driver=_if_told(nvml.nvmlSystemGetDriverVersion),
                devices=tuple(_device_facts(index) for index in range(count)),
            )
        finally:
            with contextlib.suppress(nvml.NVMLError):
                nvml.nvmlShutdown()


def _device_facts(index: int) -> AnyDevice:
    handle = None
    try:
        handle = insist(lambda: nvml.nvmlDeviceGetHandleByIndex(index))
        name = insist(lambda: _name(handle))
    except (nvml.NVMLError, UnicodeDecodeError) as error:
        uuid = None if handle is None else _if_told(lambda: _uuid(handle))
        return SilentDevice(index=index, uuid=uuid, error=str(error), remedy=_remedy(index, error))

    def told(reading: Callable[[Any], T]) -> T | None:
        return _if_told(lambda: reading(handle))

    memory = told(nvml.nvmlDeviceGetMemoryInfo)
    processes = told(_compute_processes)
    return DeviceFacts(
        index=index,
        name=name,
        uuid=told(_uuid),
        pci_bus_id=told(_pci_bus_id),
        architecture=told(lambda h: ARCHITECTURES.get(nvml.nvmlDeviceGetArchitecture(h))),
        memory_bytes=None if memory is None else int(memory.total),
        memory_used_bytes=None if memory is None else int(memory.used),
        power_limit_watts=told(_power_limit_watts),
        mig=told(_mig),
        persistence=told(_persistence),
        processes=None if processes is None else tuple(sorted(processes)),
    )


def _if_told(question: Callable[[], T]) -> T | None:
    """NVML's answer, waited for; None where it has none, here or in its version."""
    try:
        return insist(question)
    except (nvml.NVMLError, nvml.NVMLLibraryMismatchError, UnicodeDecodeError):
        return None


# Readings of a device by its handle. They raise NVMLError.


def _name(handle: Any) -> str:
    return str(nvml.nvmlDeviceGetName(handle))


def _uuid(handle: Any) -> str:
    return str(nvml.nvmlDeviceGetUUID(handle))


def _pci_bus_id(handle: Any) -> str:
    number = nvml.nvmlDeviceGetPciInfo(handle).busId
    return number.decode() if isinstance(number, bytes) else str(number)


def _power_limit_watts(handle: Any) -> float:
    return float(nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000)


def _mig(handle: Any) -> bool:
    return bool(nvml.nvmlDeviceGetMigMode(handle)[0])


def _persistence(handle: Any) -> bool:
    return bool(nvml.nvmlDeviceGetPersistenceMode(handle))


def _compute_processes(handle: Any) -> frozenset[int]:
    """Ids of the processes that compute on a device; NVMLLibraryMismatchError where the library is too old for that."""
    try:
        processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except nvml.NVMLLibraryMismatchError:  # of a driver before 510
        processes = nvml.nvmlDeviceGetComputeRunningProcesses_v2(handle)
    return frozenset(int(process.pid) for process in processes)


class NvmlDevice:
    """One device, by NVML index or UUID. Close it when done: NVML counts its users."""

    def __init__(self, device: int | str) -> None:
        with translate_errors():
            nvml.nvmlInit()
        self.missing: dict[str, str] = {}
        self._open = True
        try:
            self._handle = self._find(device)
            self.identity = Device(
                index=self._ask("index", lambda h: int(nvml.nvmlDeviceGetIndex(h))),
                name=self._ask("name", _name) or "unknown device",
                uuid=self._ask("uuid", _uuid),
                pci_bus_id=self._ask("pci", _pci_bus_id),
            )
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
        usual = self._ask("default_clock", lambda h: int(nvml.nvmlDeviceGetDefaultApplicationsClock(h, graphics)))
        chosen = self._ask("application_clock", lambda h: int(nvml.nvmlDeviceGetApplicationsClock(h, graphics)))
        if usual is None or chosen == usual:
            chosen = None  # no limit: boards run faster than the clock of applications that they come with
        return min((limit for limit in (largest, customer, chosen) if limit), default=None)

    def memory_clock_mhz(self) -> int | None:
        return self._ask("memory_clock", lambda h: int(nvml.nvmlDeviceGetClockInfo(h, nvml.NVML_CLOCK_MEM)))

    def throttle_reasons(self) -> int | None:
        return self._ask("throttle_reasons", lambda h: int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(h)))

    def power_limit_watts(self) -> float | None:
        return self._ask("power_limit", _power_limit_watts)

    def performance_state(self) -> int | None:
        return self._ask("performance_state", lambda h: int(nvml.nvmlDeviceGetPerformanceState(h)))

    def persistence(self) -> bool | None:
        return self._ask("persistence", _persistence)

    def mig(self) -> bool | None:
        return self._ask("mig", _mig)

    def processes(self) -> frozenset[int] | None:
        """Ids of the processes that compute on the device, where they can be seen."""
        return self._ask("processes", _compute_processes)

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
        """The reading, or None where there is none; what is missing for good is not asked for again."""
        if ability in self.missing:
            return None
        try:
            return read(self._handle)
        except nvml.NVMLError as error:
            meaning = MEANINGS.get(_code(error), Meaning.PASSING)
            if meaning is Meaning.MISSING:
                self.missing[ability] = str(error)
                return None
            if meaning is Meaning.PASSING:
                return None
            raise DeviceLost(f"device {self.identity.name if hasattr(self, 'identity') else ''}: {error}") from None
        except (AttributeError, UnicodeDecodeError, nvml.NVMLLibraryMismatchError) as error:
            # A function that nvidia-ml-py or the library lacks in the version wanted; a garbled name.
            self.missing[ability] = str(error)
            return None

    def _find(self, device: int | str) -> Any:
        def ask() -> Any:
            if isinstance(device, int) or device.isdigit():
                return nvml.nvmlDeviceGetHandleByIndex(int(device))
            return nvml.nvmlDeviceGetHandleByUUID(device)

        try:
            return insist(ask)
        except nvml.NVMLError as error:
            meaning = MEANINGS.get(_code(error))
            if meaning is Meaning.UNUSABLE:
                raise _unusable(error) from None
            if _code(error) == nvml.NVML_ERROR_GPU_IS_LOST:
                raise DeviceLost(f"device {device}: {error}") from None
            raise RequestError("device", device, f"{_present()} ({error})") from None


def insist(question: Callable[[], T]) -> T:
    """NVML's answer; an error that may pass is believed only when it stays. NVMLError."""
    for pause in PAUSES:
        try:
            return question()
        except nvml.NVMLError as error:
            if MEANINGS.get(_code(error), Meaning.PASSING) is not Meaning.PASSING:
                raise
            time.sleep(pause)
    return question()


def _present() -> str:
    try:
        count = int(nvml.nvmlDeviceGetCount())
    except nvml.NVMLError:
        return "an index or UUID that NVML knows"
    return f"an index from 0 to {count - 1}, or a UUID" if count else "there is no NVIDIA device here"


def _unusable(error: nvml.NVMLError) -> MeterError:
    remedy = REMEDIES.get(_code(error), "try nvidia-smi")
    return MeterError(f"NVML cannot be used: {error}: {remedy}")


def _remedy(index: int, error: Exception) -> str:
    """What to do about a device that does not answer."""
    reset = f"see `dmesg` (Xid), then nvidia-smi --gpu-reset -i {index}, or reboot"
    remedies = {
        **REMEDIES,
        nvml.NVML_ERROR_GPU_IS_LOST: f"it fell off the bus: {reset}",
        nvml.NVML_ERROR_RESET_REQUIRED: reset,
    }
    return remedies.get(_code(error), f"try nvidia-smi -i {index}")


def _code(error: Exception) -> int:
    return int(getattr(error, "value", nvml.NVML_ERROR_UNKNOWN))
