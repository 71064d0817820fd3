"""The lock of a device among real processes, users and pid namespaces."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from farm.domain import OperationError, RequestError
from tests.conftest import FARM
from tests.fake_nvml import fake
from workers.device.lock import TOKENS, DeviceLock

TAKE = """
import sys
from pathlib import Path
from farm.domain import FarmError
from workers.device.lock import DeviceLock
try:
    lock = DeviceLock("GPU-1", Path(sys.argv[1])).acquire()
except FarmError as error:
    print(error, flush=True)
else:
    print("held", flush=True)
    sys.stdin.read()
"""
SEPARATE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
OTHER_USER = 12345


@contextmanager
def taking(folder: Path, *before: str, environment: dict[str, str] | None = None) -> Iterator[tuple[int, str]]:
    """A process that takes the lock and keeps it, or says why not: its id and what it says."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", TAKE, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    assert process.stdout is not None
    try:
        yield process.pid, process.stdout.readline().rstrip()
    finally:
        process.communicate()


def said(folder: Path, *before: str, environment: dict[str, str] | None = None) -> str:
    with taking(folder, *before, environment=environment) as (_, words):
        return words


@pytest.fixture(scope="module")
def separate() -> Sequence[str]:
    """How to run a command as process 1 of a pid namespace of its own."""
    for command in (SEPARATE, [*SEPARATE, "--user", "--map-root-user"]):
        try:
            done = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("no pid namespace can be made here: there is no unshare (util-linux)")
        if done.returncode == 0:
            return command
    pytest.skip(f"no pid namespace can be made here: {done.stderr.strip()}")


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    with taking(folder) as (pid, words):
        assert words == "held"
        with pytest.raises(OperationError, match=f"process {pid} measures"):
            DeviceLock("GPU-1", folder).acquire()
        DeviceLock("GPU-2", folder).acquire().release()
        assert folder.stat().st_mode & 0o7777 == 0o1777
        assert (folder / "GPU-1").stat().st_mode & 0o777 == 0o666
        os.kill(pid, signal.SIGKILL)
    with DeviceLock("GPU-1", folder) as lock:
        lock.release()
    DeviceLock("GPU-1", folder).acquire().release()


def test_the_right_is_given_to_children_and_to_nobody_else(tmp_path: Path) -> None:
    with DeviceLock("GPU-1", tmp_path) as lock:
        right = lock.shared()
        assert right[TOKENS] not in (tmp_path / "GPU-1").read_text()
        assert said(tmp_path, environment=right) == "held"
        again = f"import subprocess; subprocess.run({[sys.executable, '-c', TAKE, str(tmp_path)]!r})"
        done = subprocess.run(
            [sys.executable, "-c", again],
            env={**os.environ, **right},
            input="",
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "held\n"  # a child's child
        assert "is taken" in said(tmp_path)  # a child that was given nothing
        assert "is taken" in said(tmp_path, environment={TOKENS: "0" * 64})
        with pytest.raises(OperationError):
            DeviceLock("GPU-1", tmp_path).acquire()  # nor the holder itself, twice
        with DeviceLock("GPU-2", tmp_path), pytest.raises(OperationError):
            DeviceLock("GPU-2", tmp_path).acquire()
    with taking(tmp_path) as (_, words):
        assert words == "held"
        assert "is taken" in said(tmp_path, environment=right)  # it was another's, who let go


def test_rights_to_several_devices_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DeviceLock("GPU-1", tmp_path) as first:
        monkeypatch.setenv(TOKENS, first.shared()[TOKENS])
        with DeviceLock("GPU-2", tmp_path) as second, DeviceLock("GPU-1", tmp_path) as given:
            assert said(tmp_path, environment=second.shared()) == "held"
            assert given.shared() == {}  # what it inherited is in its children's environment already
        assert "is taken" in said(tmp_path, environment={TOKENS: ""})


def test_process_1_of_a_container_is_nobodys_ancestor_outside(tmp_path: Path, separate: Sequence[str]) -> None:
    with taking(tmp_path, *separate) as (_, words):
        assert words == "held"
        with pytest.raises(OperationError, match="is taken"):
            DeviceLock("GPU-1", tmp_path).acquire()
        assert "another process measures" in said(tmp_path, *separate)  # whose id means nothing there
    with DeviceLock("GPU-1", tmp_path) as lock:
        assert "is taken" in said(tmp_path, *separate)
        assert said(tmp_path, *separate, environment=lock.shared()) == "held"  # the right does not depend on ids


def test_a_lock_that_cannot_be_written_is_one_line_and_is_not_kept(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # as on a full disk
    try:
        with pytest.raises(OperationError, match=r"device lock .*/GPU-1 cannot be written"):
            DeviceLock("GPU-1", tmp_path).acquire()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with DeviceLock("GPU-1", tmp_path) as lock:
        assert said(tmp_path, environment=lock.shared()) == "held"


def test_a_lock_is_not_taken_through_a_link(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    folder.mkdir()
    (tmp_path / "precious").write_text("keep")
    (folder / "GPU-1").symlink_to(tmp_path / "precious")
    with pytest.raises(OperationError, match="cannot be opened"):
        DeviceLock("GPU-1", folder).acquire()
    assert (tmp_path / "precious").read_text() == "keep"
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(RequestError, match="not a link"):
        DeviceLock("GPU-2", tmp_path / "link").acquire()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_strangers_folder_is_not_trusted(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    folder.mkdir()
    os.chown(folder, OTHER_USER, OTHER_USER)
    folder.chmod(0o1777)
    with pytest.raises(RequestError, match=f"lock folder.*user {OTHER_USER} owns it.*sudo chown root"):
        DeviceLock("GPU-1", folder).acquire()
    assert list(folder.iterdir()) == []


def test_a_folder_that_everybody_may_empty_is_not_trusted(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(RequestError, match=r"lock folder.*sticky.*chmod 1777"):
        DeviceLock("GPU-1", folder).acquire()
    folder.chmod(0o755)  # one's own alone
    DeviceLock("GPU-1", folder).acquire().release()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a folder of its own over the host's")
def test_commands_refuse_it_in_one_line(tmp_path: Path) -> None:
    """`farm meter` ends with 2, `farm doctor` calls it a failure; seen in a mount namespace of their own."""
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks").chmod(0o777)
    over = f"mkdir -p /tmp/joulefarm-locks && mount --bind {tmp_path / 'locks'} /tmp/joulefarm-locks && exec"
    probe = subprocess.run(["unshare", "--mount", "sh", "-c", f"{over} true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"no mount namespace can be made here: {probe.stderr.strip()}")
    with fake.load(tmp_path / "stage", clock="real") as gpu:

        def run(command: str) -> subprocess.CompletedProcess[str]:
            environment = gpu.environment(FARM_HOME=str(tmp_path / "home"))
            line = ["unshare", "--mount", "sh", "-c", f"{over} {FARM} {command}"]
            return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60)

        meter, doctor = run("meter --json -- true"), run("doctor --json")
    assert (meter.returncode, meter.stdout) == (2, "")
    assert meter.stderr.startswith("farm: lock folder: /tmp/joulefarm-locks: sticky")
    assert meter.stderr.count("\n") == 1
    failures = [c for c in json.loads(doctor.stdout)["checks"] if "lock folder" in json.dumps(c)]
    assert [c["level"] for c in failures] == ["failure"]
