"""Signals at any moment of a start, and what may become of them on their way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.boot.bare import BASE, write_program
from tests.cli.conftest import SOURCE

LIMIT = 60
"""Seconds for what takes less than one on an idle host."""

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), *sys.path])}
IDLE = (f"jal zero, {BASE:#x}",)

AT_A_MOMENT = """
import signal, sys
from bimetal.cli import main
number, left = int(sys.argv[1]), int(sys.argv[2])
def watch(frame, event, what):
    global left
    left -= event == "call"
    code = frame.f_code
    importing = code.co_filename == "<frozen importlib._bootstrap>"
    waits = code.co_name == "wait" and code.co_filename.endswith("/machine/machine.py")
    if waits or (left <= 0 and not importing):
        sys.setprofile(None)
        signal.raise_signal(number)
sys.setprofile(watch)
main(sys.argv[3:])
"""
"""Sends itself a signal once so many functions have been called, or once the machine runs."""

AT_LAST = sys.maxsize
MOMENTS = [
    ("SIGINT", 300),
    ("SIGTERM", 3_000),
    ("SIGHUP", 30_000),
    ("SIGINT", 60_000),
    ("SIGINT", 80_000),
    ("SIGTERM", 100_000),
    ("SIGHUP", AT_LAST),
]
"""Signals, and how many functions have been called: over all of a start."""


def done(code: str, *words: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, "-c", code, *words],
        stdin=subprocess.DEVNULL,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def start(tmp_path: Path, name: str, moment: int) -> tuple[str, ...]:
    kernel, line = write_program(tmp_path / "program.elf", *IDLE), tmp_path / "line"
    run = ("run", "--bios", "none", "--memory", "16M", "--no-background", "--kernel", str(kernel))
    return (str(int(signal.Signals[name])), str(moment), *run, "--serial", f"unix:{line}")


@pytest.mark.parametrize(("name", "moment"), MOMENTS)
def test_a_signal_ends_a_start_at_any_moment(tmp_path: Path, name: str, moment: int) -> None:
    ended = done(AT_A_MOMENT, *start(tmp_path, name, moment))
    assert ended.returncode == -signal.Signals[name], ended
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "line").exists()


@pytest.mark.parametrize(("name", "moment"), MOMENTS)
def test_a_signal_ends_the_first_process_of_a_container_at_any_moment(
    tmp_path: Path, name: str, moment: int, container: tuple[str, ...]
) -> None:
    ended = done(AT_A_MOMENT, *start(tmp_path, name, moment), before=container)
    assert ended.returncode == 128 + signal.Signals[name], ended
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "line").exists()


def test_a_signal_ends_the_first_process_before_its_end_is_looked_after() -> None:
    code = """
import os, signal
from bimetal import cli
os.getpid = lambda: 1  # as in a container
cli.import_module = lambda name: signal.raise_signal(signal.SIGTERM)
cli.main()
"""
    assert done(code).returncode == 128 + signal.SIGTERM


PROGRAM = """
import os, signal, sys, time
from types import SimpleNamespace
from bimetal.cli.entry import main
signal_us = lambda: signal.raise_signal(signal.SIGTERM)
{}
sys.modules["the program"] = SimpleNamespace(run=run)
main([], "the program")
"""

TURNED_INTO_ANOTHER_ERROR = """
class Descriptor:
    def __set_name__(self, owner, name):  # what it raises is a RuntimeError up to Python 3.11
        signal_us()
def run(arguments, ending):
    class Owner:
        member = Descriptor()
"""
CAUGHT = """
def run(arguments, ending):
    try:
        signal_us()
    except BaseException:
        pass
    time.sleep(60)
"""
CAUGHT_AS_ANOTHER_ERROR = """
def run(arguments, ending):
    try:
        try:
            signal_us()
        except BaseException as error:
            raise ValueError from error
    except ValueError:
        pass
    time.sleep(60)
"""
TOLD_AS_A_FAILURE = """
def run(arguments, ending):
    try:
        signal_us()
    except BaseException:
        return 1
"""


@pytest.mark.parametrize(
    "code", [TURNED_INTO_ANOTHER_ERROR, CAUGHT, CAUGHT_AS_ANOTHER_ERROR, TOLD_AS_A_FAILURE]
)
def test_a_signal_ends_the_process_whatever_becomes_of_what_it_raises(code: str) -> None:
    ended = done(PROGRAM.format(code))
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGTERM, "", "")


@pytest.mark.parametrize("code", [TURNED_INTO_ANOTHER_ERROR, TOLD_AS_A_FAILURE])
def test_the_first_process_of_a_container_has_the_signals_code_nevertheless(
    code: str, container: tuple[str, ...]
) -> None:
    ended = done(PROGRAM.format(code), before=container)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGTERM, "")


def test_a_defect_in_the_end_is_told_and_the_code_is_the_signals() -> None:
    defect = """
def run(arguments, ending):
    try:
        signal_us()
    finally:
        raise ValueError("this is not how to close it")
"""
    ended = done(PROGRAM.format(defect))
    assert ended.returncode == -signal.SIGTERM
    assert ended.stderr.splitlines()[-1] == "ValueError: this is not how to close it"
