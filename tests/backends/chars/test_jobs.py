"""The terminal belongs to one job of its shell at a time: ours is in raw mode, the shell's never.

The jobs are those of a real shell. A shell hands its terminal over before it lets a job go on, or,
to a job that runs, without a word, so each way is gone again and again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

import bimetal
from tests.spawned import kill

GUEST = str(Path(__file__).with_name("echo_guest.py"))
COMMAND = f"{sys.executable} {GUEST}"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(bimetal.__file__).parents[1])}
LIMIT = 30
ROUNDS = 5
PROMPT = "<shell> "
RAW = termios.ICANON | termios.ECHO | termios.ISIG
ALTERNATE, NORMAL = "\x1b[?1049h", "\x1b[?1049l"


class Shell:
    """A shell with job control on a terminal of its own.

    ``said`` is what came before the last prompt.
    """

    def __init__(self, program: str, *options: str):
        self.terminal: pexpect.spawn[Any] = pexpect.spawn(
            program,
            list(options),
            env={**ENVIRONMENT, "PS1": PROMPT, "TERM": "dumb", "HISTFILE": ""},
            timeout=LIMIT,
            encoding="utf-8",
            dimensions=(24, 200),
        )
        self.terminal.delaybeforesend = None
        self.said = ""
        self.expect(PROMPT)

    def expect(self, text: str) -> None:
        self.terminal.expect_exact(text)

    def type(self, line: str) -> None:
        self.terminal.sendline(line)

    def do(self, line: str) -> str:
        """Have a line executed; what it printed."""
        self.type(line)
        self.expect(line)
        self.expect(PROMPT)
        return str(self.terminal.before).strip()

    def job(self) -> int:
        """The number of the process that was sent into the background last, or stopped."""
        return int(self.do("jobs -p").split()[-1])

    def start(self, guest: str = "quit") -> None:
        self.type(f"{COMMAND} {guest}")
        self.expect("ready")
        self.echoes()

    def stop(self, how: signal.Signals) -> None:
        """Stop the program in the foreground."""
        os.kill(os.tcgetpgrp(self.terminal.child_fd), how)
        self.expect(PROMPT)
        self.said = str(self.terminal.before)
        if how == signal.SIGSTOP:  # of which a program does not hear, and some shells do not care
            self.type("stty sane")
            self.expect(PROMPT)
        assert not self.is_raw()

    def modes(self) -> list[Any]:
        return termios.tcgetattr(self.terminal.child_fd)

    def wait_for(self, state: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT
        while not state():
            assert time.monotonic() < end, self.terminal.buffer
            time.sleep(0.005)

    def close(self) -> None:
        kill(self.terminal)

    def is_raw(self) -> bool:
        return not self.modes()[3] & RAW

    def echoes(self) -> None:
        """The guest has the terminal, and every key."""
        self.wait_for(self.is_raw)
        for key in ("a", "\x03", "\x1a"):
            self.terminal.send(key)
            self.expect(f"<{key}>")

    def quit(self) -> None:
        """Have the program end."""
        self.terminal.send("\x01x")
        self.expect("[QUIT]")
        self.expect(PROMPT)
        self.said = str(self.terminal.before)
        assert self.modes()[3] & RAW == RAW


@pytest.fixture(params=[("bash", "--norc", "--noprofile", "--noediting"), ("dash", "-i")])
def shell(request: pytest.FixtureRequest) -> Iterator[Shell]:
    with contextlib.closing(Shell(*request.param)) as shell:
        yield shell


@pytest.mark.parametrize("stop", [signal.SIGTSTP, signal.SIGSTOP])
def test_a_stopped_job_has_the_terminal_when_it_is_brought_back(
    shell: Shell, stop: signal.Signals
) -> None:
    shell.start()
    for _ in range(ROUNDS):
        shell.stop(stop)
        shell.type("fg")
        shell.echoes()
    shell.quit()


@pytest.mark.parametrize("stop", [signal.SIGTSTP, signal.SIGSTOP])
def test_a_job_that_goes_on_in_the_background_leaves_the_terminal_alone(
    shell: Shell, stop: signal.Signals
) -> None:
    shell.start()
    for _ in range(ROUNDS):
        shell.stop(stop)
        shell.do("bg")
        assert "Stopped" not in shell.do("jobs")
        shell.type("fg")
        shell.echoes()
    shell.quit()


def test_a_job_of_the_background_has_the_terminal_once_it_is_brought_to_the_front(
    shell: Shell,
) -> None:
    shell.type(f"{COMMAND} quit &")
    shell.expect("ready")
    assert "Stopped" not in shell.do("jobs")
    assert shell.do("echo $((6 * 7))") == "42"
    shell.type("fg")
    shell.echoes()
    for _ in range(ROUNDS):
        shell.stop(signal.SIGTSTP)
        shell.do("bg")
        shell.type("fg")
        shell.echoes()
    shell.quit()


def test_a_job_that_ends_in_the_background_leaves_the_terminal_alone(shell: Shell) -> None:
    shell.start()
    shell.stop(signal.SIGTSTP)
    shell.do("bg")
    before = shell.modes()
    os.kill(shell.job(), signal.SIGTERM)
    shell.wait_for(lambda: not shell.do("jobs"))
    assert shell.modes() == before


def test_the_screen_is_the_guests_only_while_the_terminal_is(shell: Shell) -> None:
    shell.start("ticking")
    shell.terminal.send(ALTERNATE)
    shell.expect(f"<{ALTERNATE}>")
    shell.stop(signal.SIGTSTP)
    assert NORMAL in shell.said
    shell.type("bg")
    for _ in range(10):
        shell.expect("[tick]")
        assert ALTERNATE not in str(shell.terminal.before)
    shell.type("fg")
    shell.expect(ALTERNATE)
    shell.echoes()
    shell.quit()
    assert NORMAL in shell.said


def test_a_screen_that_was_given_back_is_not_given_back_again(shell: Shell) -> None:
    shell.start("ticking")
    shell.terminal.send(ALTERNATE)
    shell.expect(f"<{ALTERNATE}>")
    shell.stop(signal.SIGTSTP)
    shell.type("bg")
    for _ in range(3):
        shell.expect("[tick]")
    os.kill(shell.job(), signal.SIGTERM)
    said = ""
    while "Terminated" not in said:
        shell.type("")
        shell.expect(PROMPT)
        said += str(shell.terminal.before)
    assert NORMAL not in said
