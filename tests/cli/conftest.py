"""The command line in this process, and the one in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bimetal.cli.entry import main

SOURCE = Path(__file__).resolve().parents[2] / "src"


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run ``bimetal`` with the given words in this process."""

    def run(*words: str) -> Outcome:
        with pytest.raises(SystemExit) as end:
            main(words)
        captured = capsys.readouterr()
        code = end.value.code
        assert isinstance(code, int)
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def process(tmp_path: Path) -> Cli:
    """Run ``bimetal`` with the given words in a process of its own, with an empty cache."""

    def run(*words: str) -> Outcome:
        path = os.pathsep.join([str(SOURCE), *sys.path])
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "bimetal", *words],
            env={**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def container() -> tuple[str, ...]:
    """The words before a command that is to be the first process of a container."""
    if os.geteuid() != 0:
        pytest.skip("a process 1 is made by root")
    words = ("unshare", "--pid", "--fork", "--mount-proc")
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:  # as in most containers
        pytest.skip(f"this host does not let us make a container: {tried.stderr.strip()}")
    return words
