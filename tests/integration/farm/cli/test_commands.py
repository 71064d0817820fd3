"""The commands themselves: what they print, what they answer to rude input, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from farm.domain import Failure
from farm.domain.worker import WorkerInfo
from farm.settings import load
from farm.store.engine import Store
from farm.store.migrations import HEAD
from tests.both_sides import Jobs

HEADER = "model,gpu,resolution,steps,precision,cfg,prompts,energy_joules"
SMALL = """\
name: small
models: [sd2]
gpus: [a100, a4000]
resolutions: [512]
steps: [1, 2]
precisions: [fp16]
cfg: [false]
prompts: [1]
"""
FARM = str(Path(sys.executable).with_name("farm"))


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def opened_jobs(home: Path):
    """Jobs of this test's home, once something has made its database."""
    stores = []

    def call() -> Jobs:
        settings = load(max_attempts=1)
        stores.append(Store.open(settings))
        return Jobs(stores[-1], settings)

    yield call
    for store in stores:
        store.close()


def measure_all(jobs: Jobs, measure) -> None:
    for queue in jobs.queues():
        for job_id in jobs.due(queue, 100):
            job = jobs.claim(job_id, worker="w", queue=queue)
            jobs.record(job_id, job.attempt, "w", measure(job))


class TestSweep:
    def test_submit_in_json(self, farm, spec):
        done = farm("sweep", "submit", spec, "--json")
        assert (done.code, done.err) == (0, "")
        document = json.loads(done.out)
        assert document["sweep"] == 1
        assert {k: document[k] for k in ("configurations", "new", "already_measured", "infeasible", "jobs")} == {
            "configurations": 4, "new": 4, "already_measured": 0, "infeasible": [], "jobs": 4,
        }  # fmt: skip

    def test_submit_twice_adds_nothing(self, farm, spec):
        farm("sweep", "submit", spec)
        again = json.loads(farm("sweep", "submit", spec, "--json").out)
        assert (again["new"], again["jobs"]) == (0, 0)
        assert json.loads(farm("sweep", "status", "--json").out)["jobs"]["queued"] == 4

    def test_dry_run_of_the_papers_grid_leaves_no_file(self, farm, home, farm_root):
        done = farm("sweep", "submit", farm_root / "deploy/sweeps/paper.yaml", "--dry-run", "--json")
        document = json.loads(done.out)
        assert (document["sweep"], document["configurations"], document["new"]) == (None, 2880, 1560)
        assert {(r["model"], r["gpu"], r["precision"], r["count"]) for r in document["infeasible"]} == {
            *((model, "a4000", p, 120) for model in ("sd35", "flux", "qwen") for p in ("fp16", "fp32")),
            ("sd35", "a6000", "fp32", 120), ("flux", "a6000", "fp32", 120), ("qwen", "a6000", "fp16", 120),
            ("qwen", "a6000", "fp32", 120), ("qwen", "a100", "fp32", 120),
        }  # fmt: skip
        assert all("GB" in row["why"] for row in document["infeasible"])
        assert not home.exists()

    def test_says_in_words_what_is_infeasible(self, farm, farm_root):
        done = farm("sweep", "submit", farm_root / "deploy/sweeps/paper.yaml")
        assert "1560 new, 1560 jobs" in done.out
        assert "120 infeasible: qwen fp32 on a100: needs an estimated 117.0 to 131.9 GB" in done.out

    def test_status_has_the_agreed_keys(self, farm, spec):
        farm("sweep", "submit", spec)
        states = {"queued", "running", "done", "failed", "cancelled"}
        for sweep, argument in ((None, []), (1, ["1"]), (1, ["small"])):
            document = json.loads(farm("sweep", "status", *argument, "--json").out)
            assert document["sweep"] == sweep
            assert set(document["jobs"]) == states
            assert set(document["by_gpu"]) == {"a100", "a4000"}
            assert all(set(counts) == states for counts in document["by_gpu"].values())
            assert document["pipeline_loads"] == 0
            assert document["eta_seconds"] is None
        assert "a4000" in farm("sweep", "status").out

    def test_pause_resume_cancel_retry(self, farm, spec, opened_jobs):
        farm("sweep", "submit", spec)
        assert farm("sweep", "pause", "small").out == "sweep 1: 4 jobs held\n"
        assert farm("sweep", "resume").out == "all sweeps: 4 jobs released\n"
        jobs = opened_jobs()
        (first, *_) = jobs.due("a100", 1)
        jobs.claim(first, worker="w", queue="a100")
        jobs.fail(first, 1, "w", Failure(reason="error", message="m", retry=True))
        assert json.loads(farm("sweep", "retry", "1", "--json").out) == {"sweep": 1, "name": "small", "jobs": 1}
        assert farm("sweep", "cancel", "1").out == "sweep 1: 4 jobs cancelled\n"

    def test_watch_ends_by_itself_with_one_document(self, farm, spec, opened_jobs, measure):
        farm("sweep", "submit", spec)
        measure_all(opened_jobs(), measure)
        done = farm("sweep", "watch", "--json")
        assert json.loads(done.out)["jobs"]["done"] == 4
        assert "a100: 2/2" in done.err
        assert farm("sweep", "watch", "small").out.splitlines() == ["a100: 2/2", "a4000: 2/2"]

    def test_ctrl_c_ends_the_watching_only(self, farm, spec):
        farm("sweep", "submit", spec)
        process = subprocess.Popen(
            [FARM, "sweep", "watch"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell's `&` ignores it
        )
        assert "a100: 0/2" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert process.returncode == 0
        assert "the farm goes on" in err
        assert json.loads(farm("sweep", "status", "--json").out)["jobs"]["queued"] == 4

    def test_bars_on_a_terminal(self, farm, spec, opened_jobs, measure):
        farm("sweep", "submit", spec)
        measure_all(opened_jobs(), measure)
        parent, child = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
        process = subprocess.Popen([FARM, "sweep", "watch"], stdout=child, stderr=child, env=environment)
        os.close(child)
        shown = b""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                part = os.read(parent, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        os.close(parent)
        assert process.wait(10) == 0
        assert "a4000" in shown.decode()
        assert "2/2" in shown.decode()
        assert "━" in shown.decode()


class TestRudeSweeps:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("models: [sd3]\ngpus: [a100]", "did you mean sd35"),
            ("models: [sd2]\ngpus: [a1000]", "did you mean a100"),
            ("models: [sd2]\ngpus: [a100]\nprecision: [fp16]", "did you mean precisions"),
            ("models: [sd2]\ngpus: [a100]\nprecisions: [fp8]", "one of fp16, bf16, fp32"),
            ("models: [sd2]\ngpus: [a100]\nsteps: []", "at least one value"),
            ("models: [sd2]\ngpus: [a100]\nsteps: [-3]", "steps: -3"),
            ("models: [sd2]\ngpus: [a100]\nexclude: [{model: sd2}]", "at least one configuration"),
            ("- not\n- a mapping", "a mapping"),
            ("models: &m [*m]", "a reference to itself"),
            ("models: [sd2", "valid YAML"),
            ("models: [sd2]\ngpus: [a100]\nprompts_file: none.txt", "No such file"),
            (
                "models: [sd2]\ngpus: [a100]\n"
                + "".join(f"{k}: {list(range(8, 8008, 8))}\n" for k in ("resolutions", "prompts"))
                + f"steps: {list(range(1, 1001))}",
                "at most 10,000,000",
            ),
        ],
    )
    def test_one_line_exit_2_and_nothing_written(self, farm, home, tmp_path, content, message):
        path = tmp_path / "rude.yaml"
        path.write_text(content)
        done = farm("sweep", "submit", path, "--json")
        assert (done.code, done.out) == (2, "")
        assert message in done.err
        assert done.err.count("\n") == 1
        if (home / "farm.db").exists():  # what only the whole sweep shows is refused in a transaction
            assert json.loads(farm("sweep", "status", "--json").out)["by_gpu"] == {}

    def test_missing_binary_huge_and_folder(self, farm, tmp_path):
        binary, huge = tmp_path / "binary", tmp_path / "huge"
        binary.write_bytes(os.urandom(1000))
        with huge.open("wb") as file:
            file.truncate(100_000_000)
        for path in (tmp_path / "none.yaml", binary, huge, tmp_path):
            done = farm("sweep", "submit", path)
            assert done.code == 2
            assert done.err.count("\n") == 1

    @pytest.mark.parametrize("command", ["status", "watch", "pause", "resume", "cancel", "retry"])
    @pytest.mark.parametrize("sweep", ["9", "nope", "-1", "99999999999999999999", "'; DROP TABLE job"])
    def test_unknown_sweep(self, farm, command, sweep):
        done = farm("sweep", command, "--", sweep)
        assert done.code == 2
        assert "nothing was submitted yet" in done.err

    def test_home_that_cannot_be(self, farm, spec, monkeypatch, tmp_path):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("FARM_HOME", str(tmp_path / "file" / "home"))
        done = farm("sweep", "submit", spec)
        assert done.code == 2
        assert done.err.startswith("farm: FARM_HOME: ")

    def test_database_of_a_newer_version(self, farm, spec, home):
        farm("db", "upgrade")
        store = Store.open(load())
        with store.write() as db:
            db.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        store.close()
        for command in (("sweep", "submit", spec), ("sweep", "status"), ("db", "upgrade"), ("results", "list")):
            done = farm(*command)
            assert done.code == 2
            assert "newer joulefarm" in done.err
            assert done.err.count("\n") == 1


class TestResults:
    def test_import_list_export(self, farm, tmp_path, farm_root):
        data = farm_root / "analysis/data/paper_a100_energy.csv"
        first = json.loads(farm("results", "import", data, "--dataset", "paper", "--json").out)
        assert (first["rows"], first["imported"], first["duplicates"], first["datasets"]) == (200, 200, 0, ["paper"])
        assert "0 rows imported, 200 known already" in farm("results", "import", data, "--dataset", "paper").out
        listed = json.loads(farm("results", "list", "--model", "flux", "--limit", "3", "--json").out)
        assert listed["count"] == len(listed["results"]) == 3
        assert "flux" in farm("results", "list", "--limit", "1").out
        for name in ("out.csv", "out.parquet"):
            assert farm("results", "export", tmp_path / name).code == 0
            again = json.loads(farm("results", "import", tmp_path / name, "--json").out)
            assert (again["rows"], again["imported"], again["datasets"]) == (200, 0, ["paper"])

    def test_header_only_is_fine(self, farm, tmp_path):
        path = tmp_path / "t.csv"
        path.write_text(HEADER + "\n")
        assert json.loads(farm("results", "import", path, "--json").out)["rows"] == 0

    def test_bad_rows_are_all_named_and_nothing_is_imported(self, farm, tmp_path):
        path = tmp_path / "t.csv"
        rows = ["flux,a100,512,20,fp16,1,10,5", "flux,a100,512,20,fp16,1,10,nan", "flux,a100,512,x,fp16,1,10,5"]
        path.write_text("\n".join([HEADER, *rows]))
        done = farm("results", "import", path)
        assert done.code == 2
        assert "row 2, energy_joules: nan" in done.err
        assert "row 3, steps: x: a whole number" in done.err
        assert done.err.count("\n") == 1
        nothing = farm("results", "list", "--json")  # not even a file was made
        assert (nothing.code, nothing.out) == (2, "")

    @pytest.mark.parametrize("name", ["none.csv", "none.parquet", "."])
    def test_missing_file(self, farm, tmp_path, name):
        done = farm("results", "import", tmp_path / name)
        assert done.code == 2
        assert done.err.count("\n") == 1


class TestJobsAndWorkers:
    def test_show_every_attempt(self, farm, spec, opened_jobs, measure):
        farm("sweep", "submit", spec)
        jobs = opened_jobs()
        (first, *_) = jobs.due("a100", 1)
        job = jobs.claim(first, worker="w", queue="a100")
        jobs.release(first, 1, "w")
        jobs.claim(first, worker="v", queue="a100")
        jobs.record(first, 2, "v", measure(job))
        shown = json.loads(farm("jobs", "show", first, "--json").out)
        assert [(a["worker"], a["end"]) for a in shown["attempts"]] == [("w", "released"), ("v", "accepted")]
        assert shown["measurement"]["energy_joules"] == 100.0
        listed = json.loads(farm("jobs", "list", "--json").out)["jobs"]
        times = [shown["created_at"], shown["finished_at"], *(a["ended_at"] for a in shown["attempts"])]
        for moment in (*times, *(job["created_at"] for job in listed)):
            assert datetime.fromisoformat(moment).utcoffset() == timedelta(0)
        assert (shown["not_before"], listed[-1]["finished_at"]) == (None, None)
        text = farm("jobs", "show", first).out
        assert "attempt 1 by w" in text
        assert "measured 100 J in 2 s by test" in text

    def test_list(self, farm, spec):
        farm("sweep", "submit", spec)
        listed = json.loads(farm("jobs", "list", "--gpu", "a100", "--limit", "1", "--json").out)
        assert listed["total"] == 2
        assert len(listed["jobs"]) == 1
        assert "... 3 more" in farm("jobs", "list", "--sweep", "small", "--limit", "1").out
        assert json.loads(farm("jobs", "list", "--state", "done", "--json").out) == {"total": 0, "jobs": []}

    @pytest.mark.parametrize("job", ["0", "x", "7", "99999999999"])
    def test_show_of_no_job(self, farm, job):
        done = farm("jobs", "show", job)
        assert done.code == 2
        assert done.err.count("\n") == 1

    def test_workers_list_and_drain(self, farm, opened_jobs):
        farm("db", "upgrade")
        assert "no workers" in farm("workers", "list").out
        info = {"gpu": "a100", "queue": "a100", "device_name": "d", "device_uuid": "u", "host": "h", "pid": 1}
        jobs = opened_jobs()
        jobs.register(WorkerInfo(name="w", code_version="1", **info))
        (listed,) = json.loads(farm("workers", "list", "--json").out)["workers"]
        assert (listed["name"], listed["gpu"], listed["state"], listed["silent"]) == ("w", "a100", "idle", False)
        assert "w" in farm("workers", "list").out
        done = farm("workers", "drain", "x")
        assert done.code == 2
        assert "known: w" in done.err
        assert json.loads(farm("workers", "drain", "w", "--json").out) == {"asked": 1}
        assert jobs.drain_requested("w")


def test_db_upgrade_is_harmless_twice(farm, home):
    for _ in range(2):
        done = farm("db", "upgrade")
        assert done.code == 0
        assert f"schema {HEAD}" in done.out


def test_reader_that_goes_away_is_no_error_of_ours(farm, spec, farm_root):
    farm("results", "import", farm_root / "analysis/data/paper_a100_energy.csv", "--dataset", "paper")
    done = subprocess.run(
        f"{FARM} results list | head -1", shell=True, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("data set")
    assert "Traceback" not in done.stderr
