"""Helper processes that compile: they end when nobody wants their work any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bimetal.codegen import compiling
from bimetal.codegen.frames import Frame, pack
from tests.interrupting import interrupt_soon, interrupted

ASKS = """
import sys
from bimetal.codegen.compiling import _Helpers
with _Helpers(1) as pool:
    made = pool.ask("define void @f() { ret void }", "library")
    print(pool._started[0].pid, len(made), flush=True)
    sys.stdin.read()
"""


def test_who_interrupts_waits_for_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    def idle(module: str) -> dict[str, object]:
        return {"args": [sys.executable, "-c", "import time; time.sleep(1000)"]}

    def asked(frame: Frame) -> bytes:
        interrupt_soon()
        return pack(frame)

    def here(text: str) -> bytes:
        raise AssertionError("it is compiled in this process")

    monkeypatch.setattr(compiling, "module_command", idle)
    monkeypatch.setattr(compiling, "compile_object", here)
    monkeypatch.setattr(compiling, "pack", asked)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    with interrupted(later=True):
        compiling.compile_objects(["module"] * 20)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def test_a_helper_ends_with_its_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", ASKS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    pid, size = map(int, parent.stdout.readline().split())
    assert size > 100
    os.kill(pid, signal.SIGSTOP)  # as if it were busy, and did not look at its standard input
    parent.kill()
    parent.communicate()
    while running(pid):
        pass
