"""What runs now, in a line for the top bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from farm.database import Store
from farm.domain import words
from farm.sweeps import control


@dataclass(frozen=True, slots=True)
class Now:
    """How far the open sweeps are, and whether a coordinator sees to them."""

    done: int  # jobs that ended, of the sweeps that are open
    jobs: int
    running: int
    eta_seconds: float | None  # until the last of them ends; None where nothing tells
    coordinator_alive: bool
    silent_seconds: float | None
    alerts: int = 0  # states that somebody has to see to

    @classmethod
    def of(cls, store: Store) -> Self:
        """As the database says now."""
        return cls.from_status(control.status(store, None))

    @classmethod
    def from_status(cls, status: dict[str, object]) -> Self:
        """From the document of `farm sweep status --json`."""
        jobs: dict[str, int] = status["jobs"]  # type: ignore[assignment]
        coordinator: dict[str, object] = status["coordinator"]  # type: ignore[assignment]
        waiting = jobs["queued"] + jobs["running"]
        return cls(
            done=sum(jobs.values()) - waiting,
            jobs=sum(jobs.values()),
            running=jobs["running"],
            eta_seconds=status["eta_seconds"],  # type: ignore[arg-type]
            coordinator_alive=bool(coordinator["alive"]),
            silent_seconds=coordinator["silent_seconds"],  # type: ignore[arg-type]
            alerts=len(status["alerts"]),  # type: ignore[arg-type]
        )

    @property
    def open(self) -> bool:
        """Whether jobs wait or run."""
        return self.done < self.jobs

    @property
    def state(self) -> str:
        """``idle``, ``runs``, ``waits``, or ``silent`` where jobs are open and no coordinator is here."""
        if not self.open:
            return "idle"
        if not self.coordinator_alive:
            return "silent"
        return "runs" if self.running else "waits"

    @property
    def text(self) -> str:
        """``312 of 840, 3 h 10 min left``, ``nothing runs``, ``coordinator silent for 4 min``."""
        if self.state == "idle":
            return "nothing runs"
        if self.state == "silent":
            return (
                f"{self.jobs - self.done} jobs wait, no coordinator"
                if self.silent_seconds is None
                else f"coordinator silent for {words.ago(self.silent_seconds)}"
            )
        remaining = "" if self.eta_seconds is None else f", {words.ago(self.eta_seconds)} left"
        return f"{self.done:,} of {self.jobs:,}{remaining}"
