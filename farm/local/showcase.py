"""A small simulated farm at work in a temporary home, to be looked at before anything is measured."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from farm.database import opened
from farm.domain.errors import OperationError
from farm.local import farm as local_farm
from farm.local.demo import own_settings
from farm.settings import Settings
from farm.sweeps.read import read_spec
from farm.sweeps.submit import submit

SPEC: Final = Path(__file__).resolve().parents[1] / "sweeps" / "data" / "showcase.yaml"
TYPES: Final = "a100,h100"
SPEED: Final = 30  # simulated seconds a second: one sees it move
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0


@contextmanager
def simulated() -> Iterator[Settings]:
    """Run a small simulated farm that works off a sweep; its settings. Nothing of it is left when the block ends."""
    if not local_farm.can_work():
        raise OperationError("simulated devices need numpy: pip install 'joulefarm[analysis]'")
    with tempfile.TemporaryDirectory(prefix="joulefarm-demo-") as folder, own_settings({"FARM_HOME": folder}) as chosen:
        local_farm.detach(chosen, ["--simulate", TYPES, "--speed", str(SPEED)], timeout_seconds=START_SECONDS)
        try:
            with opened(settings=chosen) as store:
                submit(store, read_spec(SPEC))
            yield chosen
        finally:
            local_farm.end(chosen, STOP_SECONDS)
