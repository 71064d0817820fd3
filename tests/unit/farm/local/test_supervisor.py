"""The supervisor: what dies comes back, what ended by itself does not, and nothing is left behind."""

import os
import sys
import threading

import pytest

from farm.domain import OperationError
from farm.local import restarts
from farm.local.restarts import Restarts
from farm.local.supervisor import ProcessService, Supervisor
from farm.processes import ProcessIdentity
from farm.settings import load


def service(tmp_path, name, code):
    return ProcessService(name, [sys.executable, "-c", code], env=dict(os.environ), log=tmp_path / f"{name}.log")


def run_for(supervisor, seconds):
    stop = threading.Event()
    threading.Timer(seconds, stop.set).start()
    supervisor.run(stop)


def test_what_dies_is_started_again_and_what_ended_is_not(tmp_path):
    dies = service(tmp_path, "dies", f"open({str(tmp_path / 'dies')!r}, 'a').write('x'); raise SystemExit(3)")
    ends = service(tmp_path, "ends", f"open({str(tmp_path / 'ends')!r}, 'a').write('x')")
    supervisor = Supervisor([dies, ends])
    supervisor.start()
    run_for(supervisor, 1.5)
    supervisor.stop(1.0, threading.Event())
    assert len((tmp_path / "dies").read_text()) >= 2
    assert len((tmp_path / "ends").read_text()) == 1


def test_what_will_not_end_is_killed(tmp_path):
    ready = tmp_path / "ready"
    stubborn = service(
        tmp_path,
        "stubborn",
        f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);open({str(ready)!r}, 'w'); time.sleep(60)",
    )
    supervisor = Supervisor([stubborn])
    supervisor.start()
    identity = ProcessIdentity.of(stubborn._process.pid)
    while not ready.exists():
        assert identity.alive()
    supervisor.stop(0.3, threading.Event())
    assert not identity.alive()


def test_a_start_that_fails_leaves_nothing(tmp_path):
    class Broken:
        name = "broken"

        def start(self):
            raise OperationError("cannot")

        def kill(self):
            pass

    good = service(tmp_path, "good", "import time; time.sleep(60)")
    with pytest.raises(OperationError, match="cannot"):
        Supervisor([good, Broken()]).start()
    assert good.ended() is not None


def test_a_start_that_the_system_refuses_is_tried_again_and_ends_nobody(tmp_path, caplog):
    """As for want of processes or of room on the disk: the others go on."""
    program = tmp_path / "program"
    program.symlink_to(sys.executable)
    dies = ProcessService("dies", [program, "-c", "raise SystemExit(3)"], env=dict(os.environ), log=tmp_path / "log")
    lives = service(tmp_path, "lives", "import time; time.sleep(60)")
    supervisor = Supervisor([lives, dies])
    supervisor.start()
    program.unlink()
    run_for(supervisor, 1.5)
    assert lives.ended() is None
    supervisor.kill()
    assert f"{program} (log {tmp_path / 'log'}): cannot be started" in caplog.text


def test_what_an_unnamed_signal_killed_is_said_by_its_number(tmp_path, caplog):
    dies = service(tmp_path, "dies", "import os; os.kill(os.getpid(), 40)")
    supervisor = Supervisor([dies])
    supervisor.start()
    run_for(supervisor, 1.0)
    supervisor.kill()
    assert "dies died (killed by signal 40)" in caplog.text


def test_a_request_that_cannot_be_answered_ends_nobody(tmp_path, monkeypatch, caplog):
    """As on a full disk: who asked is told so after a while, the farm goes on."""
    ended = service(tmp_path, "worker a100-0", "pass")
    supervisor = Supervisor([ended])
    supervisor.start()
    run_for(supervisor, 1.0)
    chosen = load()
    requests = Restarts(chosen, supervisor)
    folder = chosen.run / "restart"
    folder.mkdir(parents=True)
    (folder / "1.ask").write_text('{"worker": null}')

    def full(path, _text):
        raise OperationError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr(restarts, "write_private", full)
    requests.look()
    supervisor.kill()
    assert "a request to restart is not answered" in caplog.text
    assert list(folder.iterdir()) == []
