"""What is wrong with simulated devices, as ``FARM_HOME/simulated.toml`` states it: for rehearsals and tests.

[a100-0]                       # GPU type and number
driver = "580.1"               # as the worker states it when it starts
energy_factor = 1.1            # draws so much more than it should
fails = "the fan is stuck"     # cannot measure, for this reason
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

from farm import catalog
from farm.domain import RequestError

FILE = "simulated.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Faults:
    """What is wrong with one device."""

    driver: str | None = None
    energy_factor: float = 1.0
    fails: str = ""

    def __post_init__(self) -> None:
        for name, types in (("driver", (str, type(None))), ("energy_factor", (int, float)), ("fails", (str,))):
            if not isinstance(value := getattr(self, name), types):
                raise TypeError(f"{name} is {value!r}")


def of_device(gpu: str, device: int) -> Faults:
    """What the file says of a device now. RequestError for one that cannot be read."""
    path = catalog.home() / FILE
    try:
        stated = tomllib.loads(path.read_text("utf-8")).get(f"{gpu}-{device}", {})
        return Faults(**stated)
    except FileNotFoundError:
        return Faults()
    except (OSError, ValueError, TypeError) as error:
        raise RequestError(FILE, str(path), f"tables of devices with driver, energy_factor, fails ({error})") from None
