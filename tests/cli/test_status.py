"""The line that says what takes long, on a terminal only, and gone before anybody else writes."""

from __future__ import annotations

import logging
import os
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from bimetal.cli.boot import BootTimes
from bimetal.cli.logs import show_logs
from bimetal.cli.status import STATUS, StatusLine
from tests.boot.bare import BASE, END, write_program
from tests.cli.test_ending import BARE, ENVIRONMENT, LIMIT

CLEARED, MARK = b"\r\x1b[K", b"\0"
ANSWERS_A_KEY = (
    "lui t0, 0x10000",
    "lbu t1, 5(t0)",
    "andi t1, t1, 1",
    f"beq t1, zero, {BASE + 4:#x}",
    "addi t1, zero, 65",
    "sb t1, 0(t0)",
    *END,
)


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    monkeypatch.setenv("TERM", "xterm")
    ends = os.openpty()
    termios.tcsetwinsize(ends[1], (25, 40))
    yield ends
    for fd in ends:
        os.close(fd)


def shown(window: tuple[int, int]) -> bytes:
    """What has been written, all of it: a terminal hands it over some time later, in its order."""
    os.write(window[1], MARK)
    seen = b""
    while not seen.endswith(MARK):
        seen += os.read(window[0], 1000)
    return seen.removesuffix(MARK)


def test_a_line_replaces_the_one_before_and_is_erased_once(window: tuple[int, int]) -> None:
    line = StatusLine(window[1])
    line.erase()
    assert shown(window) == b""
    line.show("one")
    line.show("two")
    assert shown(window) == b"\rone\x1b[K\rtwo\x1b[K"
    line.erase()
    line.erase()
    assert shown(window) == CLEARED


def test_a_line_does_not_run_into_the_next(window: tuple[int, int]) -> None:
    StatusLine(window[1]).show("x" * 100)
    assert shown(window) == b"\r" + b"x" * 39 + b"\x1b[K"


def test_a_terminal_that_takes_nothing_is_not_waited_for(window: tuple[int, int]) -> None:
    line = StatusLine(window[1])
    termios.tcflow(window[1], termios.TCOOFF)
    line.show("x")
    line.erase()
    termios.tcflow(window[1], termios.TCOON)
    assert shown(window) == b""


@pytest.mark.parametrize("kind", ["dumb", ""])
def test_no_line_where_it_could_not_be_taken_back(
    window: tuple[int, int], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("TERM", kind)
    StatusLine(window[1]).show("x")
    assert shown(window) == b""


def test_no_line_without_a_terminal() -> None:
    read_end, write_end = os.pipe()
    line = StatusLine(write_end)
    line.show("x")
    line.erase()
    os.close(write_end)
    assert os.read(read_end, 1) == b""
    os.close(read_end)


def test_what_is_compiled_first_is_shown(
    window: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(STATUS, "_fd", window[1])
    show_logs()
    logging.getLogger("bimetal.interpreter").info("compiling for %s", "z80")
    assert shown(window) == b"\rbimetal: compiling for z80\x1b[K"
    STATUS.erase()


def test_a_guest_that_is_silent_is_waited_for_visibly(tmp_path: Path) -> None:
    kernel = write_program(tmp_path / "program.elf", *ANSWERS_A_KEY)
    child = pexpect.spawn(
        sys.executable,
        ["-m", "bimetal", *BARE, "--kernel", str(kernel)],
        env={**ENVIRONMENT, "TERM": "xterm"},
        timeout=LIMIT,
    )
    child.expect_exact(b"Ctrl-A h helps\r\n")
    child.expect_exact(b"\rbimetal: booting, 1 s\x1b[K")
    child.expect_exact(b"\rbimetal: booting, 2 s\x1b[K")
    child.send(b"x")
    child.expect_exact(CLEARED + b"A")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert (child.before or b"").strip() == b""


@pytest.fixture
def times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BootTimes:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return BootTimes()


def test_usual_times_are_remembered(times: BootTimes) -> None:
    assert times.usual("debian") is None
    times.note("debian", 4.0)
    times.note("other", 9.0)
    assert times.usual("debian") == 4.0
    times.note("debian", 8.0)
    assert times.usual("debian") == 6.0
    assert times.usual("other") == 9.0


@pytest.mark.parametrize("damage", ["", "[1]", "{", '{"debian": "x"}', '{"debian": -1}', "\x00"])
def test_damaged_times_are_no_times(times: BootTimes, damage: str) -> None:
    times.note("debian", 4.0)
    times._path.write_text(damage)
    assert times.usual("debian") is None
    times.note("debian", 5.0)
    assert times.usual("debian") == 5.0


def test_times_that_cannot_be_written_matter_to_nobody(times: BootTimes) -> None:
    times._path.parent.mkdir(parents=True, exist_ok=True)
    times._path.mkdir()
    times.note("debian", 5.0)
    assert times.usual("debian") is None
    assert [path.name for path in times._path.parent.iterdir()] == ["boot-times.json"]
