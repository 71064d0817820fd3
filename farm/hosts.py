"""The registered workers and their devices, as those who run the farm see them, and what they may ask of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from farm import waiting
from farm.actor import user_at_host
from farm.alerts import Alert, alerts
from farm.domain.errors import unknown_name
from farm.domain.row import LIMITS
from farm.domain.times import stated, utc
from farm.domain.worker import MAINTENANCE, WorkerInfo
from farm.store import actions, devices, hosts, progress
from farm.store.engine import Connection, Store
from farm.waiting import Coordinator, Waiting


class Hosts:
    """The workers that a store knows."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def workers(self) -> list[WorkerInfo]:
        """Every registered worker as it last reported, by name."""
        with self._store.read() as db:
            return hosts.workers(db)

    def document(self) -> dict[str, Any]:
        """Workers, coordinator and why jobs wait, as `farm workers list --json` prints them."""
        with self._store.read() as db:
            waits = waiting.reasons(db)
            return {
                "workers": [document(info) for info in hosts.workers(db)],
                "devices_off": _devices_off(db),
                "coordinator": asdict(waiting.coordinator(db)),
                "waiting": [asdict(row) for row in waits],
                "alerts": [asdict(alert) for alert in alerts(db, waits=waits)],
            }

    def attempts(self, seconds: float) -> list[dict[str, Any]]:
        """What was tried within the last so many seconds, the first first; times are seconds before now."""
        with self._store.read() as db:
            return progress.attempts_since(db, seconds)

    def devices_off(self) -> list[dict[str, Any]]:
        """Devices that take no jobs: ``worker, gpu, host, device_uuid, kind, reason, since``; also those without a
        worker now."""
        with self._store.read() as db:
            return _devices_off(db)

    def stretches_off(self, seconds: float) -> list[dict[str, Any]]:
        """When devices took no jobs within the last so many seconds, as ``farm.store.devices.stretches_off`` says."""
        with self._store.read() as db:
            return devices.stretches_off(db, seconds)

    def last_measured(self, worker: str) -> dict[str, Any] | None:
        """What a worker said of its device when it last measured: temperature, power limit, idle power, driver."""
        with self._store.read() as db:
            return progress.last_measured(db, worker)

    def limits(self) -> dict[str, dict[str, float]]:
        """Under which power and clock limits (farm.domain.row.LIMITS) devices of workers that are here measured last,
        by GPU type; only those in which all of a type agree."""
        with self._store.read() as db:
            here = {worker.name: worker.gpu for worker in hosts.workers(db) if worker.alive}
            last = progress.last_environments(db, here)
        stated: dict[str, list[Mapping[str, Any]]] = {}
        for name, environment in last.items():
            stated.setdefault(here[name], []).append(environment)
        agreed: dict[str, dict[str, float]] = {}
        for gpu, environments in stated.items():
            for name in LIMITS:
                values = {environment.get(name) for environment in environments}
                if len(values) == 1 and isinstance(value := values.pop(), (int, float)):
                    agreed.setdefault(gpu, {})[name] = float(value)
        return agreed

    def coordinator(self) -> Coordinator:
        """Whether a coordinator is here."""
        with self._store.read() as db:
            return waiting.coordinator(db)

    def waiting(self) -> list[Waiting]:
        """Why the queued jobs of all sweeps wait."""
        with self._store.read() as db:
            return waiting.reasons(db)

    def alerts(self) -> list[Alert]:
        """What a person must know of the farm now."""
        with self._store.read() as db:
            return alerts(db)

    def request_drain(self, name: str | None = None) -> int:
        """Ask a worker, or all, to finish the job at hand and stop; how many were asked."""
        with self._store.write() as db:
            return hosts.request_drain(db, name)

    def take_off(self, name: str, reason: str) -> dict[str, Any]:
        """Let the device of a worker take no more jobs until it is put back, whatever processes serve it meanwhile.

        What runs on it runs to its end. RequestError for a name that nobody has.
        """
        with self._store.write() as db:
            device = _device(db, name)
            devices.take_off(db, device["uuid"], MAINTENANCE, reason)
            self._note(db, devices.TAKEN_OFF, device, reason=reason)
            return _off(_device(db, name))

    def put_back(self, name: str, *, new_baseline: bool = False) -> dict[str, Any]:
        """Let the device of a worker take jobs again; what it was off for. RequestError as for ``take_off``."""
        with self._store.write() as db:
            device = _device(db, name)
            devices.put_back(db, device["uuid"], new_baseline=new_baseline)
            self._note(db, devices.PUT_BACK, device, new_baseline=new_baseline)
            return _off(device)

    def _note(self, db: Connection, action: str, device: dict[str, Any], **detail: Any) -> None:
        actions.note(db, user_at_host(), action, worker=device["worker"], device_uuid=device["uuid"], **detail)


def document(worker: WorkerInfo) -> dict[str, Any]:
    """A worker as `farm workers list --json` prints it."""
    return {**stated(asdict(worker)), "off_since": utc(worker.off_since), "suspect_since": utc(worker.suspect_since),
            "power_origin": worker.power_origin, "silent": not worker.alive}  # fmt: skip


def _devices_off(db: Connection) -> list[dict[str, Any]]:
    return [_off(row) for row in devices.known(db) if row["off_kind"]]


def _device(db: Connection, name: str) -> dict[str, Any]:
    devices.learn(db)
    device = devices.find(db, name)
    if device is None:
        raise unknown_name("worker", name, {row["worker"] for row in devices.known(db)})
    return device


def _off(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "worker": row["worker"],
        "gpu": row["gpu"],
        "host": row["host"],
        "device_uuid": row["uuid"],
        "kind": row["off_kind"],
        "reason": row["off_reason"],
        "since": utc(row["off_since"]),
    }
