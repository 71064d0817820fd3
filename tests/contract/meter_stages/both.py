from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.meter_stages import Stage
from tests.contract.meter_stages.codecarbon import gpu


def both() -> Iterator[Stage]:
    """Its numbers are NVML's, in real time."""
    yield from gpu("both", 0.02)


STAGES = [pytest.param(both, marks=pytest.mark.alone)]
