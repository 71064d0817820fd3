"""Compile libnvidia-ml.c once: with the host's C compiler, or with the one in the ``ziglang`` wheel."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "libnvidia-ml.c"
SONAME = "libnvidia-ml.so.1"


def compiler() -> list[str]:
    """The command of a C compiler. RuntimeError, with the remedy, where there is none."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and (path := shutil.which(name)):
            return [path]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise RuntimeError("no C compiler: install one, or `pip install ziglang`")


@cache
def library() -> Path:
    """Path of the compiled library, in a folder of its own so that it can stand on LD_LIBRARY_PATH."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    target = HERE / "build" / digest / SONAME
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{SONAME}.{os.getpid()}")
        flags = ["-O2", "-std=gnu11", "-Wall", "-Wextra", "-shared", "-fPIC", f"-Wl,-soname,{SONAME}"]
        subprocess.run([*compiler(), *flags, "-o", str(partial), str(SOURCE), "-lm", "-lpthread"], check=True)
        partial.replace(target)  # several test processes may build at once
    return target


@cache
def smi_folder() -> Path:
    """A folder with an ``nvidia-smi`` that answers nothing: CodeCarbon wants one on PATH and then asks NVML."""
    script = HERE / "build" / "bin" / "nvidia-smi"
    if not script.exists():
        script.parent.mkdir(parents=True, exist_ok=True)
        partial = script.with_name(f"nvidia-smi.{os.getpid()}")
        partial.write_text("#!/bin/sh\nexit 0\n")
        partial.chmod(0o755)
        partial.replace(script)
    return script.parent
