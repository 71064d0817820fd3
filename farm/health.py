"""Health of devices: which check is due, what its result means, and the series as people see it.

A check is an ordinary job of a small configuration that only one device may take, so that procedure, leases and
records are those of every measurement. It belongs to no sweep and enters no fit.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from farm import catalog
from farm.catalog import memory
from farm.domain import Configuration, JobState, RequestError
from farm.domain.errors import unknown_name
from farm.domain.health import BASELINE_CHECKS, LONGEST_BASELINE, Verdict, deviation
from farm.domain.measurement import SPOILING_FLAGS, Measurement
from farm.domain.times import utc
from farm.settings import Settings
from farm.store import devices, health
from farm.store.engine import Connection, Store
from farm.store.submission import Wanted
from farm.sweeps.prompts import read_prompts
from farm.version import __version__

logger = logging.getLogger(__name__)

DAY_SECONDS: Final = 86400.0
SETTING: Final = "FARM_HEALTH_CONFIGURATION"


def configuration(text: str, gpu: str) -> Configuration:
    """The golden configuration on a GPU type. RequestError naming the setting where it is none."""
    values: dict[str, Any] = {"cfg": "0", "gpu": gpu}
    for part in text.split():
        name, equals, value = part.partition("=")
        if not equals or name == "gpu" or name not in (*Configuration.__dataclass_fields__, "resolution"):
            raise RequestError(SETTING, part, "keys and values such as model=sd2 resolution=512 steps=20")
        values[name] = value
    try:
        made = Configuration.from_mapping({**values, "model": catalog.model_name(str(values.get("model")))})
        catalog.model(made.model).check(made)
    except RequestError as error:
        raise RequestError(SETTING, text, str(error)) from None
    return made


class HealthChecks:
    """The coordinator's side: asks for checks that are due and evaluates those that ended."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """RequestError where the settings ask for what cannot be."""
        self._store = store
        self._settings = settings
        self._listed = read_prompts(None, configuration(settings.health_configuration, catalog.PROCESSOR).prompts)
        self._unfit: set[str] = set()  # GPU types that it does not fit; said once

    def look(self) -> None:
        """Evaluate what ended, ask for what is due."""
        with self._store.write() as db:
            health.give_up_waiting(db)
            for check in health.ended(db):
                self._evaluate(db, check)
            if self._settings.health_hour is None and self._settings.health_interval_seconds is None:
                return
            for device in health.ready(db):
                wanted = self._wanted(device["gpu"])
                cause = wanted and self._due(device, health.checks(db, device["uuid"], since=device["baseline_from"]))
                if wanted and cause:
                    listed = (self._listed.sha256, self._listed.prompts)
                    job = health.ask(db, device, cause, wanted, listed, code_version=__version__)
                    logger.info("health check of %s: job %d: %s", device["worker"], job, cause)

    def _wanted(self, gpu: str) -> Wanted | None:
        """The check of a GPU type; None where there is none: processors, whose energy is an estimate, and what it does
        not fit."""
        if gpu not in catalog.gpus() or catalog.gpu(gpu).is_processor:
            return None
        made = configuration(self._settings.health_configuration, gpu)
        if (why := memory.objection(made)) is not None:
            if gpu not in self._unfit:
                logger.warning("no health checks on %s: %s does not run there: %s", gpu, made.label(), why)
                self._unfit.add(gpu)
            return None
        return Wanted(made, 0, catalog.gpu(gpu).queue, catalog.digest(made))

    def _due(self, device: Mapping[str, Any], checks: Sequence[Mapping[str, Any]]) -> str:
        """Why a device is to be checked now; empty where it is not."""
        made = [check for check in checks if check["verdict"] != Verdict.CANCELLED]
        if not made:
            return "first check"
        last = made[-1]
        if last["facts"] != device["facts"]:
            return f"changed: {last['facts'] or 'unknown'} is now {device['facts'] or 'unknown'}"
        if last["verdict"] != Verdict.GOOD:
            return "the last one was bad"
        good = sum(check["verdict"] == Verdict.GOOD for check in made)
        if good < BASELINE_CHECKS:
            return f"baseline, {good + 1} of {BASELINE_CHECKS}"
        interval, hour = self._settings.health_interval_seconds, self._settings.health_hour
        if interval is not None and device["now"] - last["asked_at"] >= interval:
            return "its time has come"
        if hour is not None and last["asked_at"] < last_passing(hour, device["now"]):
            return "nightly"
        return ""

    def _evaluate(self, db: Connection, check: Mapping[str, Any]) -> None:
        uuid = check["device_uuid"]
        if check["state"] == JobState.CANCELLED:
            health.settle(db, check["id"], Verdict.CANCELLED, why=check["reason"])
            return
        device = devices.find(db, uuid)
        since = 0.0 if device is None else device["baseline_from"]
        before = [row for row in health.checks(db, uuid, since=since) if row["id"] < check["id"] and row["verdict"]]
        made = [row for row in before if row["verdict"] != Verdict.CANCELLED]
        verdict, values = self._verdict(check, made)
        if not health.settle(db, check["id"], verdict, **values):
            return
        if verdict is Verdict.GOOD:
            health.trust(db, uuid)
            return
        flagged = health.suspect(db, uuid)
        logger.warning(
            "health check of %s: %s: %s; %d result(s) are suspect", check["worker"], verdict, values["why"], flagged
        )
        why = values["why"]
        twice = bool(made) and made[-1]["verdict"] == Verdict.FAILED
        if verdict is Verdict.DRIFTED:
            health.take_off(db, uuid, why)
        elif twice:
            health.take_off(db, uuid, f"two health checks in a row failed: {why}")

    def _verdict(self, check: Mapping[str, Any], made: Sequence[Mapping[str, Any]]) -> tuple[Verdict, dict[str, Any]]:
        if check["state"] != JobState.DONE or check["measurement"] is None:
            return Verdict.FAILED, {"why": check["reason"] or "it has no measurement"}
        try:
            measured = Measurement.from_dict(check["measurement"])
        except (RequestError, TypeError, ValueError) as error:  # a worker of a later version wrote it
            return Verdict.FAILED, {"why": f"its measurement is not one of this version: {error}"}
        values: dict[str, Any] = {"energy_joules": measured.energy_joules, "why": None}
        if measured.spoiled or not measured.energy_joules or measured.energy_joules <= 0:
            spoiling = [flag for flag in measured.flags if flag in SPOILING_FLAGS]
            why = f"flagged {' '.join(spoiling)}" if spoiling else "no energy above idle"
            return Verdict.FAILED, values | {"why": why}
        good = [row["energy_joules"] for row in made if row["verdict"] == Verdict.GOOD]
        drift = deviation(measured.energy_joules, good, self._settings.health_tolerance_percent)
        if drift is None:
            return Verdict.GOOD, values
        values |= {"deviation_percent": drift.percent, "limit_percent": drift.limit_percent}
        if not drift.drifted:
            return Verdict.GOOD, values
        why = f"drifted by {drift.percent:+.1f} % (its noise is within {drift.limit_percent:.1f} %): {check['cause']}"
        return Verdict.DRIFTED, values | {"why": why}


def last_passing(hour: int, now: float) -> float:
    """When it was last that hour of the day, UTC, in seconds since 1970."""
    return (now - hour * 3600.0) // DAY_SECONDS * DAY_SECONDS + hour * 3600.0


def series(store: Store, name: str | None = None) -> list[dict[str, Any]]:
    """Every device that was checked, or that of one worker, with its checks, the first first; as `farm workers health
    --json` prints them. RequestError for a name that nobody has."""
    with store.read() as db:
        known = devices.known(db)
        if name is not None:
            device = devices.find(db, name)
            if device is None:
                raise unknown_name("worker", name, {row["worker"] for row in known})
            known = [device]
        documents = [_device(row, health.checks(db, row["uuid"])) for row in known]
    return [document for document in documents if name is not None or document["checks"]]


def _device(device: Mapping[str, Any], checks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    counted = [check for check in checks if check["asked_at"] >= device["baseline_from"]]
    good = [check["energy_joules"] for check in counted if check["verdict"] == Verdict.GOOD]
    ready = len(good) >= BASELINE_CHECKS
    return {
        "worker": device["worker"],
        "gpu": device["gpu"],
        "device_uuid": device["uuid"],
        "facts": device["facts"],
        "off": f"{device['off_kind']}: {device['off_reason']}" if device["off_kind"] else None,
        "suspect_since": utc(device["suspect_since"]),
        "baseline_joules": statistics.median(good[:LONGEST_BASELINE]) if ready else None,
        "checks": [
            {
                "at": utc(check["checked_at"] or check["asked_at"]),
                "verdict": check["verdict"],
                "cause": check["cause"],
                "facts": check["facts"],
                **{key: check[key] for key in ("energy_joules", "deviation_percent", "limit_percent", "why")},
                "job": check["job_id"],
            }
            for check in checks
        ],
    }
