"""Machines that end in bad ways while jobs are at work on their disks: see `trials`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends.block.qcow2.qemu import needs_qemu
from tests.machine.live.trials import JOBS

pytestmark = needs_qemu

ROOT = Path(__file__).parents[3]


def run(kind: str, number: int, seed: int) -> None:
    """So many trials, in a process that has no thread but its own, since it forks."""
    command = [sys.executable, "-m", "tests.machine.live.trials", kind, str(number), str(seed)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{number} trials" in done.stdout
    assert "none lost" in done.stdout


@pytest.mark.parametrize("kind", JOBS)
def test_no_answered_request_is_lost(kind: str) -> None:
    run(kind, 4, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", JOBS)
def test_nor_in_a_thousand_trials(kind: str) -> None:
    run(kind, 200, seed=2)
