"""As much of systemd as a host of the lab needs: ``systemctl enable --now UNIT...``, ``restart``, ``stop``.

It reads the unit's file and does what its lines say: user, settings, folders of state, what comes first, restarts.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

UNITS = Path("/etc/systemd/system")
RUNNING = Path("/run/units")
LOGS = Path("/var/log")
KNOWN = {
    "Description", "After", "Wants", "Requires", "User", "EnvironmentFile", "Environment", "ExecStartPre", "ExecStart",
    "Restart", "RestartSec", "KillMode", "TimeoutStopSec", "NoNewPrivileges", "ProtectSystem", "StateDirectory",
    "StateDirectoryMode", "PrivateTmp", "WantedBy", "UMask",
}  # fmt: skip


def main(argv: list[str]) -> None:
    words = [word for word in argv if not word.startswith("-")]
    action, names = words[0], words[1:]
    if action == "daemon-reload":
        return
    for name in names:
        unit = name.removesuffix(".service")
        if action in ("stop", "restart", "disable"):
            end(unit)
        if action in ("start", "restart", "enable"):
            begin(unit)


def begin(unit: str) -> None:
    name, at, instance = unit.partition("@")
    lines = (UNITS / f"{name}{at}.service").read_text().replace("%i", instance).splitlines()
    pairs = [line.partition("=")[::2] for line in lines if re.match(r"\w+=", line)]
    unknown = {key for key, _ in pairs} - KNOWN
    if unknown:
        sys.exit(f"{unit}: a line that this systemd does not know: {', '.join(sorted(unknown))}")
    said = dict(pairs)
    user = pwd.getpwnam(said["User"])
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": user.pw_dir, "USER": user.pw_name}
    for file in [value for key, value in pairs if key == "EnvironmentFile"]:
        for line in Path(file).read_text().splitlines():
            if line and not line.startswith("#"):
                key, _, value = line.partition("=")
                environment[key] = value
    if "StateDirectory" in said:
        state = Path("/var/lib") / said["StateDirectory"]
        state.mkdir(mode=0o755, exist_ok=True)
        os.chown(state, user.pw_uid, user.pw_gid)
    commands = [value for key, value in pairs if key == "ExecStartPre"] + [said["ExecStart"]]
    RUNNING.mkdir(exist_ok=True)
    if os.fork():
        return
    os.setsid()
    (RUNNING / unit).write_text(str(os.getpid()))
    log = os.open(LOGS / f"{unit}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    while True:
        for command in commands:
            done = subprocess.run(
                shlex.split(command.replace("$$", "$")),
                user=user.pw_uid, group=user.pw_gid, extra_groups=[], env=environment, cwd="/", umask=0o022,
            )  # fmt: skip
            if done.returncode:
                break
        if said.get("Restart") != "always":
            return
        time.sleep(float(said.get("RestartSec", "0.1")))


def end(unit: str) -> None:
    """Its whole session: the parent is asked, the rest is killed."""
    path = RUNNING / unit
    if not path.exists():
        return
    leader = int(path.read_text())
    os.kill(leader, signal.SIGKILL)  # it would start the service again
    session = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and _session(entry) == leader and int(entry.name) != leader
    ]
    for pid in session:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while any(_session(Path(f"/proc/{pid}")) == leader for pid in session) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in session:
        if _session(Path(f"/proc/{pid}")) == leader:
            os.kill(pid, signal.SIGKILL)
    path.unlink()


def _session(entry: Path) -> int:
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] == "Z" else int(fields[3])


if __name__ == "__main__":
    main(sys.argv[1:])
