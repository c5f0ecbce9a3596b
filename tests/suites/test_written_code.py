"""Threads of a guest that execute what others of them write, on several vCPUs.

pytest -m slow tests/suites/test_written_code.py
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.guest_programs import run_here

SOURCE = Path(__file__).with_name("written_code.c")

pytestmark = [pytest.mark.slow, pytest.mark.programs("gcc")]


@pytest.mark.parametrize("accel", ["interp", "jit"])
def test_threads_execute_what_others_write(accel: str, tmp_path: Path) -> None:
    program = tmp_path / "written-code"
    words = "gcc -O1 -static -pthread".split()
    subprocess.run([*words, str(SOURCE), "-o", str(program)], check=True)
    here = run_here({"written-code": program}, accel, 4, "debian-amd64")
    assert here["written-code"].code == 0
