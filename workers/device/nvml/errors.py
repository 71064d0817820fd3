"""What NVML's errors mean, how long one that may pass is waited for, and what people can do about each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final, TypeVar

import pynvml as nvml

from farm.domain import MeterError

T = TypeVar("T")


class Meaning(Enum):
    """What an NVML error says about the one who asked."""

    MISSING = "missing"  # never here: do without
    PASSING = "passing"  # not now: ask again
    LOST = "lost"  # the device is gone
    UNUSABLE = "unusable"  # NVML as a whole does not work


# NVML return code -> what it means. Codes that are not named are passing: logged, and no reading.
_MEANINGS: Final[dict[int, Meaning]] = {
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

# What NVML answers where no device has the index or UUID that was asked for.
NO_SUCH_DEVICE: Final = (nvml.NVML_ERROR_INVALID_ARGUMENT, nvml.NVML_ERROR_NOT_FOUND)

# What is raised besides NVMLError where a reading cannot be had: nvidia-ml-py or the driver's library lacks the
# function in the version wanted, or a name is garbled.
LACKING: Final = (AttributeError, UnicodeDecodeError, nvml.NVMLLibraryMismatchError)

# What may pass is asked again after so many seconds: a driver that wakes up, a device that another program initialises.
PAUSES: Final = (0.05, 0.15, 0.3, 0.5)

# What to do about an error, whichever device it concerns.
_REMEDIES: Final[dict[int, str]] = {
    nvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no NVIDIA driver is installed here (libnvidia-ml.so.1 was not found)",
    nvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is installed but not loaded: try nvidia-smi, or reboot",
    nvml.NVML_ERROR_NO_PERMISSION: "this user may not open /dev/nvidia*: check groups or the container's devices",
    nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the driver was updated under the running kernel module: reboot",
}


def insist(question: Callable[[], T]) -> T:
    """Return NVML's answer; an error that may pass is believed only when it stays. Raises NVMLError."""
    for pause in PAUSES:
        try:
            return question()
        except nvml.NVMLError as error:
            if meaning_of(error) is not Meaning.PASSING:
                raise
            time.sleep(pause)
    return question()


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise MeterError, with what to do, for an error that NVML answers to what concerns no single device."""
    try:
        yield
    except nvml.NVMLError as error:
        raise unusable(error) from None


def meaning_of(error: nvml.NVMLError) -> Meaning:
    """What an error says about the one who asked."""
    return _MEANINGS.get(code_of(error), Meaning.PASSING)


def unusable(error: nvml.NVMLError) -> MeterError:
    """The error to raise where NVML as a whole does not work."""
    remedy = _REMEDIES.get(code_of(error), "try nvidia-smi")
    return MeterError(f"NVML cannot be used: {error}: {remedy}")


def device_remedy(device: int | str, error: Exception) -> str:
    """What to do about a device, by index or UUID, that does not answer."""
    reset = f"see `dmesg` (Xid), then nvidia-smi --gpu-reset -i {device}, or reboot"
    remedies = {
        **_REMEDIES,
        nvml.NVML_ERROR_GPU_IS_LOST: f"it fell off the bus: {reset}",
        nvml.NVML_ERROR_RESET_REQUIRED: reset,
    }
    return remedies.get(code_of(error), f"try nvidia-smi -i {device}")


def code_of(error: Exception) -> int:
    """NVML's return code behind an error; NVML_ERROR_UNKNOWN behind one that is not NVML's."""
    return int(getattr(error, "value", nvml.NVML_ERROR_UNKNOWN))
