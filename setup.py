"""Writes into what is built the commit that it was built from; everything else stands in pyproject.toml."""

from __future__ import annotations

import runpy
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
VERSION = runpy.run_path(str(HERE / "farm" / "version.py"))


def write_commit(tree: str) -> None:
    """Name the commit in a copy of the tree, where it is known."""
    if commit := VERSION["commit"]():
        (Path(tree) / "farm" / VERSION["COMMIT_FILE"]).write_text(commit + "\n")


class BuildWithCommit(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            write_commit(self.build_lib)


class SdistWithCommit(sdist):
    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        write_commit(base_dir)


setup(cmdclass={"build_py": BuildWithCommit, "sdist": SdistWithCommit})
