"""Emulators that a signal ends while they start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.boot.bare import write_program
from tests.cli.conftest import SOURCE
from tests.control.emulator.programs import LIMIT
from tests.control.homes import IDLE
from tests.importing import check_signal_while_importing

PROGRAM = "qemu-system-riscv64"
NAMES = ["SIGINT", "SIGTERM", "SIGHUP"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), *sys.path])}

WHILE_IT_IMPORTS = f"""
import signal, sys
from bimetal.control.emulator import program
late = program.late
def signalled(target):
    signal.raise_signal(int(sys.argv[1]))
    return late(target)
program.late = signalled
sys.exit(program.main("{PROGRAM}", sys.argv[2:]))
"""


def words(tmp_path: Path, wait: str) -> list[str]:
    kernel = write_program(tmp_path / "idle.elf", *IDLE)
    usual = "-M virt -m 16M -nodefaults -display none".split()
    monitor = ["-qmp", f"unix:{tmp_path}/qmp,server=on,wait={wait}"]
    return [*usual, "-kernel", str(kernel), *monitor, "-pidfile", f"{tmp_path}/pid"]


def left_in(tmp_path: Path) -> list[str]:
    return [each.name for each in tmp_path.iterdir() if each.name != "idle.elf"]


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_before_the_machine_is_there_leaves_nothing(tmp_path: Path, name: str) -> None:
    number = str(int(signal.Signals[name]))
    done = subprocess.run(
        [sys.executable, "-c", WHILE_IT_IMPORTS, number, *words(tmp_path, "off")],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert not left_in(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_ends_one_that_waits_for_a_client(
    launchers: Path, tmp_path: Path, name: str
) -> None:
    with subprocess.Popen([launchers / PROGRAM, *words(tmp_path, "on")]) as process:
        try:
            while not (tmp_path / "qmp").exists():
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.Signals[name])
            assert process.wait(LIMIT) == 0
        finally:
            process.kill()
    assert not left_in(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_during_imports_is_no_traceback(
    launchers: Path, tmp_path: Path, name: str
) -> None:
    command = [str(launchers / PROGRAM), "--version"]
    check_signal_while_importing(command, "msgspec", tmp_path, name)
