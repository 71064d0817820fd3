"""What a sweep will take, told when it is submitted; and how long it still takes, as measured here."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from analysis.adaptive import Chooser
from farm.hosts import Hosts
from farm.store.pace import Timed
from farm.sweeps import adaptive, control
from farm.sweeps.adaptive import Goal
from farm.sweeps.demand import LOG_BYTES_A_SECOND
from farm.sweeps.forecast import Expected, Forecaster
from farm.sweeps.pace import Pace
from farm.sweeps.read import parse_spec
from tests.integration.farm.sweeps.test_sweeps import worker_of

WIDE = {
    "models": ["sd2"],
    "resolutions": [256, 512, 768, 1024],
    "steps": [10, 20, 30, 40, 50],
    "prompts": [25, 50],
    "cfg": [False],
}
GRID = {"models": ["sd2"], "steps": [10, 20, 40], "resolutions": [256, 512, 1024], "prompts": [10, 100]}


def timed(*points: tuple[float, float], pause: float = 0.0) -> list[Timed]:
    """Attempts of one worker, one after the other, of (forecast, real seconds); the newest first."""
    attempts, at = [], 1000.0
    for forecast, seconds in points:
        attempts.append(Timed("w", forecast, at, at + seconds))
        at += seconds + pause
    return attempts[::-1]


class TestPace:
    def test_what_is_fixed_is_told_from_what_grows(self) -> None:
        """Of a simulated device, a thousand times as fast, jobs still take a while to be handed over."""
        pace = Pace.measured(timed(*((x, 0.05 + x / 1000) for x in (3, 10, 30, 60, 200, 800))))
        assert pace.fixed == pytest.approx(0.05)
        assert pace.factor == pytest.approx(0.001)
        assert pace.seconds(50_000) == pytest.approx(50.05)

    def test_short_pauses_between_jobs_count_and_long_ones_do_not(self) -> None:
        points = [(x, 1.0) for x in (10.0, 11.0, 12.0, 13.0)]
        assert Pace.measured(timed(*points, pause=0.5)).mean == pytest.approx(1.375)  # no pause before the first
        assert Pace.measured(timed(*points, pause=60.0)).mean == pytest.approx(1.0)

    def test_few_jobs_or_alike_give_a_factor(self) -> None:
        assert Pace.measured(timed((10, 20), (100, 200))).seconds(1000) == pytest.approx(2000)
        assert Pace.measured(timed(*[(10, 30)] * 6)).seconds(1000) == pytest.approx(3000)

    def test_neither_part_is_ever_negative(self) -> None:
        steep = Pace.measured(timed(*((x, x * x / 10) for x in (1, 2, 4, 8, 16))))
        flat = Pace.measured(timed(*((x, 100 - x) for x in (1, 2, 4, 8, 16))))
        assert min(steep.fixed, steep.factor, flat.fixed, flat.factor) >= 0
        assert flat.seconds(10) == pytest.approx(95, rel=0.1)

    def test_jobs_without_a_forecast_have_the_mean(self) -> None:
        pace = Pace.measured([Timed("w", None, 0.0, 8.0), Timed("w", None, 100.0, 104.0)])
        assert pace.seconds(None) == 6.0
        assert Pace(1.0, 1.0).seconds(None) is None


def test_submit_and_dry_run_tell_the_same_by_gpu_type(farm, store, tmp_path) -> None:
    url = store.url.render_as_string(hide_password=False)
    spec = tmp_path / "grid.json"
    spec.write_text(json.dumps({**GRID, "gpus": ["a100", "a4000"], "precisions": ["fp16"]}))
    dry = json.loads(farm("sweep", "submit", spec, "--dry-run", "--db", url, "--json").out)["forecast"]
    done = json.loads(farm("sweep", "submit", spec, "--db", url, "--json").out)["forecast"]
    assert dry == done
    by_gpu = done["by_gpu"]
    assert set(by_gpu) == {"a100", "a4000"}
    assert by_gpu["a4000"]["seconds"] > 1.5 * by_gpu["a100"]["seconds"] > 0
    assert done["seconds"] == by_gpu["a4000"]["seconds"]  # a worker each, at once
    assert done["energy_joules"] == pytest.approx(sum(part["energy_joules"] for part in by_gpu.values()))
    assert {part["jobs"] for part in by_gpu.values()} == {36}
    for part in by_gpu.values():  # no log was kept yet: what one takes a second is known all the same
        assert part["raw_log_bytes"] == pytest.approx(LOG_BYTES_A_SECOND * part["seconds"])
    assert done["raw_log_bytes"] == pytest.approx(sum(part["raw_log_bytes"] for part in by_gpu.values()))
    assert done["exceeds_deadline"] is None
    with store.read() as db:
        kept = db.execute(text("SELECT count(forecast_seconds), sum(forecast_joules) FROM job")).one()
    assert kept[0] == 72
    assert kept[1] == pytest.approx(done["energy_joules"])
    idle = 36 * 2 * 20.0  # of each job, before and after, until the farm knows better
    with store.read() as db:
        law = db.execute(text("SELECT sum(forecast_seconds) FROM job WHERE queue = 'a100'")).scalar_one()
    assert by_gpu["a100"]["seconds"] == pytest.approx(law + idle)
    lines = farm("sweep", "submit", spec, "--dry-run", "--db", url).out
    assert "forecast" not in lines  # nothing is new


def test_workers_share_the_work(jobs, sweep) -> None:
    alone = sweep(**GRID).forecast["by_gpu"]["a100"]
    for name in "abc":
        jobs.register(worker_of("a100", name))
    shared = sweep(**GRID, seed=1).forecast["by_gpu"]["a100"]
    assert (alone["workers"], shared["workers"]) == (1, 3)
    assert shared["seconds"] == pytest.approx(alone["seconds"] / 3)


def test_boards_of_the_farm_that_are_held_to_less_power_take_longer(store, jobs, sweep, measure, point) -> None:
    def expected() -> Expected:
        return Forecaster.of(store).expect([replace(point, model="flux", width=1024, height=1024, steps=20)])[0]

    def measured_under(worker: str, watts: float) -> None:
        (job_id,) = jobs.due("a100", 1)
        job = jobs.claim(job_id, worker=worker, queue="a100")
        jobs.record(job_id, job.attempt, worker, measure(job, environment={"power_limit_watts": watts}))

    sweep()
    whole = expected()
    jobs.register(worker_of("a100"))
    assert expected() == whole
    measured_under("w-a100", 200.0)
    capped = expected()
    assert capped.seconds > whole.seconds
    assert capped.joules < whole.joules
    jobs.register(worker_of("a100", "v"))
    measured_under("v-a100", 400.0)  # which of the two boards will do a job is not known
    assert expected() == whole


def test_a_deadline_that_is_too_early_is_said(farm, store, tmp_path) -> None:
    url = store.url.render_as_string(hide_password=False)
    spec = tmp_path / "grid.json"
    for hours, exceeds in ((0.01, True), (10_000, False)):
        spec.write_text(json.dumps({**GRID, "gpus": ["a100"], "deadline": hours}))
        done = farm("sweep", "submit", spec, "--dry-run", "--db", url, "--json")
        assert json.loads(done.out)["forecast"]["exceeds_deadline"] is exceeds
        assert (done.code, done.err.count("too early")) == (0, int(exceeds))
        assert done.err.count("\n") == int(exceeds)


def test_without_a_law_nothing_is_told_and_everything_works(store, jobs, sweep, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "analysis", None)  # as where the extra is not installed
    first = sweep()
    assert first.forecast is None
    jobs.register(worker_of("a100"))
    assert control.status(store, first.sweep)["eta_seconds"] is None


def test_a_model_that_was_never_counted_is_not_told(store, sweep, monkeypatch) -> None:
    monkeypatch.setattr(Forecaster, "_has_work", lambda self, configuration: configuration.model != "flux")
    forecast = sweep(models=["sd2", "flux"], gpus=["a100", "a4000"]).forecast
    assert (forecast["seconds"], forecast["energy_joules"]) == (None, None)
    assert forecast["by_gpu"]["a100"]["seconds"] is None
    with store.read() as db:
        counts = db.execute(
            text(
                "SELECT model, count(forecast_seconds) FROM job JOIN configuration c ON c.id = configuration_id "
                "GROUP BY model"
            )
        )
        known = dict(counts.all())
    assert known == {"sd2": 4, "flux": 0}


class TestAdaptive:
    """What an adaptive sweep will probably measure, and what it may at most."""

    @pytest.fixture
    def asked(self, store):
        def submit(target: float, **budget: float):
            whole = {"name": "few", "gpus": ["a100", "a4000"], "precisions": ["fp16"], **WIDE}
            return adaptive.submit(store, parse_spec(whole, folder=Path()), Goal(target, **budget), dry_run=True)

        return submit

    def test_until_the_target_far_less_than_the_grid(self, asked, sweep) -> None:
        forecast = asked(5.0).forecast
        assert forecast["until"] == "target"
        assert 0 < forecast["expected_error_percent"] <= 5.0
        at_most = forecast["at_most"]
        assert {part["jobs"] for part in at_most["by_gpu"].values()} == {40}
        for gpu, part in forecast["by_gpu"].items():
            assert 3 <= part["jobs"] < 25  # those that are foreseen, at least
            assert 0 < part["energy_joules"] < 0.3 * at_most["by_gpu"][gpu]["energy_joules"]
        assert 0 < forecast["seconds"] < 0.5 * at_most["seconds"]
        whole = sweep(gpus=["a100", "a4000"], precisions=["fp16"], **WIDE).forecast
        assert at_most["energy_joules"] == pytest.approx(whole["energy_joules"], rel=0.5)  # by another fit
        queued = asked(5.0).forecast  # all of it is, by then: nothing more is to be paid
        assert (queued["energy_joules"], queued["at_most"]["energy_joules"]) == (0, 0)

    def test_a_budget_ends_it_first_and_bounds_it(self, asked) -> None:
        rich = asked(5.0).forecast
        budget = 0.3 * rich["energy_joules"]
        poor = asked(5.0, joules=budget).forecast
        assert poor["until"] == "budget"
        assert 0 < poor["energy_joules"] <= poor["at_most"]["energy_joules"] <= budget
        assert poor["at_most"]["budget_joules"] == budget
        assert poor["at_most"]["seconds"] < rich["at_most"]["seconds"]
        brief = asked(5.0, hours=0.01).forecast
        assert brief["until"] == "budget"
        assert brief["at_most"]["energy_joules"] < rich["at_most"]["energy_joules"]

    def test_where_nothing_tells_when_it_ends_it_is_the_grid(self, asked) -> None:
        forecast = asked(0.1).forecast
        assert (forecast["until"], forecast["expected_error_percent"]) == ("unknown", None)
        assert forecast["seconds"] == forecast["at_most"]["seconds"] > 0
        assert forecast["energy_joules"] == forecast["at_most"]["energy_joules"] > 0

    def test_said_in_words_and_kept_with_the_jobs(self, farm, store, asked, tmp_path) -> None:
        url = store.url.render_as_string(hide_password=False)
        spec = tmp_path / "grid.json"
        spec.write_text(json.dumps({**WIDE, "gpus": ["a100"], "precisions": ["fp16"]}))
        lines = farm("sweep", "submit", spec, "--adaptive", "--target-error", 5, "--db", url).out
        assert "forecast: that is until the target, at an error of" in lines
        assert "at most:  a100: 40 jobs" in lines
        assert Chooser(store).round() == 1
        with store.read() as db:
            seconds, joules = db.execute(text("SELECT forecast_seconds, forecast_joules FROM job")).one()
        assert seconds > 0
        assert joules > 0

    def test_not_told_of_a_model_that_was_never_counted_nor_without_a_law(self, asked, monkeypatch) -> None:
        monkeypatch.setattr(Forecaster, "_has_work", lambda self, configuration: configuration.gpu != "a4000")
        forecast = asked(5.0).forecast
        assert (forecast["until"], forecast["energy_joules"]) == ("unknown", None)
        monkeypatch.setitem(sys.modules, "analysis", None)
        assert asked(5.0).forecast is None


class TestTimeLeft:
    @pytest.fixture
    def done(self, store, jobs, sweep, measure):
        """A sweep of which the first third was measured by a simulated device, 1000 times as fast; its id."""
        first = sweep(**GRID).sweep
        jobs.register(worker_of("a100"))
        for job_id in jobs.due("a100", 6):
            job = jobs.claim(job_id, worker="w-a100", queue="a100")
            jobs.record(job_id, 1, "w-a100", measure(job))
        with store.write() as db:
            rows = db.execute(text("SELECT id, forecast_seconds FROM job WHERE state = 'done' ORDER BY id")).all()
            at = 1000.0
            for job_id, forecast in rows:
                times = {"job": job_id, "start": at, "end": at + 0.05 + forecast / 1000}
                db.execute(text("UPDATE attempt SET started_at = :start, ended_at = :end WHERE job_id = :job"), times)
                at = times["end"]
        return first

    @staticmethod
    def work(store, where: str) -> float:
        with store.read() as db:
            query = text(f"SELECT sum(0.05 + forecast_seconds / 1000) FROM job WHERE state = 'queued' AND {where}")
            return db.execute(query).scalar_one()

    def test_it_is_what_the_law_says_at_the_farms_own_pace(self, store, done) -> None:
        known = control.status(store, done)
        assert known["eta_seconds"] == pytest.approx(self.work(store, "1 = 1"), rel=1e-3)
        assert known["eta_seconds_by_gpu"] == {"a100": known["eta_seconds"]}

    def test_what_runs_before_it_counts_and_what_runs_after_does_not(self, store, done, sweep) -> None:
        behind = sweep(models=["flux"], prompts=[100]).sweep
        assert control.status(store, behind)["eta_seconds"] == pytest.approx(self.work(store, "1 = 1"), rel=1e-3)
        assert control.status(store, done)["eta_seconds"] == pytest.approx(self.work(store, "sweep_id = 1"), rel=1e-3)
        control.set_priority(store, behind, 1)
        assert control.status(store, behind)["eta_seconds"] == pytest.approx(self.work(store, "sweep_id = 2"), rel=1e-3)
        assert control.status(store, done)["eta_seconds"] == pytest.approx(self.work(store, "1 = 1"), rel=1e-3)

    def test_more_workers_less_time_but_never_less_than_the_longest_job(self, store, done, jobs) -> None:
        alone = control.status(store, done)["eta_seconds"]
        jobs.register(worker_of("a100", "v"))
        assert control.status(store, done)["eta_seconds"] == pytest.approx(alone / 2, rel=1e-3)
        for name in map(str, range(40)):
            jobs.register(worker_of("a100", name))
        with store.read() as db:
            longest = db.execute(text("SELECT max(forecast_seconds) FROM job WHERE state = 'queued'")).scalar_one()
        assert control.status(store, done)["eta_seconds"] == pytest.approx(0.05 + longest / 1000, rel=1e-3)

    def test_paused_nobody_knows(self, store, done) -> None:
        control.pause(store, done)
        assert control.status(store, done)["eta_seconds"] is None
        control.resume(store, done)
        assert control.status(store, done)["eta_seconds"] > 0

    def test_a_device_that_is_off_or_drained_helps_nobody(self, store, done, jobs) -> None:
        Hosts(store).request_drain("w-a100")
        assert control.status(store, done)["eta_seconds"] is None
        jobs.register(worker_of("a100", "v"))
        assert control.status(store, done)["eta_seconds"] > 0

    def test_what_runs_has_only_the_rest_to_go(self, store, done, jobs) -> None:
        before = control.status(store, done)["eta_seconds"]
        (job_id,) = jobs.due("a100", 1)
        jobs.claim(job_id, worker="w-a100", queue="a100")
        with store.write() as db:  # it is over any moment
            db.execute(text("UPDATE attempt SET started_at = started_at - 3600 WHERE job_id = :job"), {"job": job_id})
        assert control.status(store, done)["eta_seconds"] == pytest.approx(self.work(store, "1 = 1"), rel=1e-3)
        assert control.status(store, done)["eta_seconds"] < before
