"""The terminal: raw while the machine runs, as it was before on every way out."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

import bimetal
from bimetal.backends.chars.stdio import Stdio
from bimetal.backends.chars.terminal import RawMode, raw_attributes
from bimetal.backends.reactor import Reactor
from bimetal.base.errors import BimetalError

GUEST = str(Path(__file__).with_name("echo_guest.py"))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(bimetal.__file__).parents[1])}
MISSING = 1_000_000
"""No descriptor."""
COOKED = termios.ICANON | termios.ECHO | termios.ISIG


def run(way_out: str) -> pexpect.spawn[Any]:
    child = pexpect.spawn(sys.executable, [GUEST, way_out], env=ENVIRONMENT, timeout=30, echo=True)
    child.delaybeforesend = None
    assert modes(child) & COOKED == COOKED
    child.expect_exact("ready\r\n")
    return child


def modes(child: pexpect.spawn[Any]) -> int:
    """The local modes of the child's terminal."""
    flags: int = termios.tcgetattr(child.child_fd)[3]
    return flags


def finish(child: pexpect.spawn[Any]) -> None:
    child.expect(pexpect.EOF)
    child.wait()
    assert modes(child) & COOKED == COOKED
    child.close()


def test_every_key_reaches_the_guest_until_the_escape_key() -> None:
    child = run("quit")
    assert modes(child) & COOKED == 0
    for typed in (b"a", b"\x03", b"\x1a", b"\r", b"\xc3\xa4", b"\x11\x13"):
        child.send(typed)
        child.expect_exact(b"<" + typed + b">")
    child.send(b"\x01h")
    child.expect_exact("end the machine")
    child.send(b"\x01x")
    child.expect_exact("[QUIT]")
    finish(child)
    assert child.exitstatus == 0


def test_the_escape_key_works_though_the_guest_is_deaf() -> None:
    child = run("deaf")
    for _ in range(80):
        child.send(b"x" * 1024)
    child.send(b"\x01x")
    child.expect_exact("[QUIT]")
    finish(child)


@pytest.mark.parametrize(
    ("way_out", "status", "signalled"),
    [
        ("exception", 1, None),
        ("exit", 3, None),
        ("SIGINT", None, signal.SIGINT),
        ("SIGTERM", None, signal.SIGTERM),
        ("SIGHUP", None, signal.SIGHUP),
        ("SIGQUIT", None, signal.SIGQUIT),
        ("forgetful", 0, None),
    ],
)
def test_ways_out(way_out: str, status: int | None, signalled: int | None) -> None:
    child = run(way_out)
    child.send(b"\x1b[?25l")
    child.expect_exact(b"<\x1b[?25l>")
    child.send(b"\x01x" if way_out == "forgetful" else b"!")
    finish(child)
    assert b"\x1b[?25h" in (child.before or b"")
    assert (child.exitstatus, child.signalstatus) == (status, signalled)


def test_a_handler_from_before_hears_of_the_signal() -> None:
    child = run("chained")
    child.kill(signal.SIGTERM)
    finish(child)
    assert child.exitstatus == 0


JOB_CONTROL = """
import os, signal, sys, termios
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
def cooked(): return bool(termios.tcgetattr(0)[3] & termios.ICANON)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
while True:
    _, status = os.waitpid(child, os.WUNTRACED)
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        break
    print("stopped, cooked:", cooked(), flush=True)
    sys.stdin.readline()
    os.tcsetpgrp(0, child)
    os.killpg(child, signal.SIGCONT)
print("ended, cooked:", cooked(), os.waitstatus_to_exitcode(status), flush=True)
"""


def test_a_stop_gives_the_terminal_back_and_a_continue_takes_it_again() -> None:
    arguments = ["-c", JOB_CONTROL, GUEST, "SIGTSTP"]
    child = pexpect.spawn(sys.executable, arguments, env=ENVIRONMENT, timeout=30)
    child.delaybeforesend = None
    child.expect_exact("ready")
    for _ in range(2):
        child.send(b"!")
        child.expect_exact("stopped, cooked: True")
        child.sendline()
        child.expect_exact("<!>")
        assert modes(child) & COOKED == 0
    child.send(b"\x01x")
    child.expect_exact("ended, cooked: True 0")
    finish(child)


def test_pipes_carry_bytes_untouched() -> None:
    typed = bytes(range(256))
    with subprocess.Popen(
        [sys.executable, GUEST, "exit"],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.stdin.write(typed)
        child.stdin.flush()
        assert child.stdout.read(258) == b"<" + typed + b">"
        child.stdin.write(b"!")
        child.stdin.close()
        assert child.wait(30) == 3


def test_standard_streams_may_be_closed() -> None:
    program = """
import os, sys
from bimetal.backends.chars.stdio import Stdio
from bimetal.backends.reactor import Reactor
os.close(0), os.close(1)
sys.stdout = None
line = Stdio()
later = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
line.attach(Reactor())
line.write(b"lost")
line.close()
sys.exit(os.fstat(later).st_size)
"""
    with tempfile.NamedTemporaryFile() as file:
        arguments = [sys.executable, "-c", program, file.name]
        assert subprocess.run(arguments, env=ENVIRONMENT, check=False).returncode == 0


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    pair = os.openpty()
    yield pair
    for fd in pair:
        os.close(fd)


def test_the_shells_descriptor_keeps_blocking(ends: tuple[int, int]) -> None:
    line = Stdio(read_fd=ends[1], write_fd=ends[1])
    for _ in range(100):
        line.write(b"x" * 1000)
    assert os.get_blocking(ends[1])
    assert line._channel.outbox is not None
    line._channel.outbox._waiting.clear()
    line.close()


def test_a_terminal_is_one_console_at_a_time(ends: tuple[int, int]) -> None:
    first, second = (Stdio(read_fd=ends[1], write_fd=ends[1]) for _ in range(2))
    reactors = [Reactor(), Reactor()]
    first.attach(reactors[0])
    with pytest.raises(BimetalError, match="another console already"):
        second.attach(reactors[1])
    first.close()
    assert termios.tcgetattr(ends[1])[3] & COOKED == COOKED
    second.attach(reactors[1])
    assert termios.tcgetattr(ends[1])[3] & COOKED == 0
    second.close()
    assert termios.tcgetattr(ends[1])[3] & COOKED == COOKED
    for reactor in reactors:
        reactor.close()


def test_output_into_a_regular_file_goes_on_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb", buffering=0) as file, open(os.devnull, "rb") as nothing:
        file.write(b"before ")
        line = Stdio(read_fd=nothing.fileno(), write_fd=file.fileno())
        reactor = Reactor()
        line.attach(reactor)
        line.write(b"guest ")
        reactor.turn()
        line.write(b"guest ")
        line.close()
        reactor.close()
        file.write(b"after")
    assert path.read_bytes() == b"before guest guest after"
    assert line.size is None


def test_raw_attributes_leave_their_argument_alone(ends: tuple[int, int]) -> None:
    before = termios.tcgetattr(ends[1])
    copy = termios.tcgetattr(ends[1])
    raw = raw_attributes(before)
    assert before == copy
    assert raw[3] & COOKED == 0
    assert raw[1] & termios.OPOST


def test_signal_handlers_come_back(ends: tuple[int, int]) -> None:
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP, signal.SIGCONT)
    before = [signal.getsignal(number) for number in numbers]
    with RawMode(ends[1]) as raw:
        raw.enter()
        assert termios.tcgetattr(ends[1])[3] & COOKED == 0
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    raw.leave()
    assert termios.tcgetattr(ends[1])[3] & COOKED == COOKED
    assert [signal.getsignal(number) for number in numbers] == before


class Typist:
    """Standard input as a pipe, and a guest that notes what it is sent."""

    def __init__(self, after: bytes = b""):
        self.read_end, self.write_end = os.pipe()
        self.heard = b""
        self.reactor = Reactor()
        with open(os.devnull, "wb") as nothing:
            self.line = Stdio(read_fd=self.read_end, write_fd=nothing.fileno())
        self.line.piped.after, self.line.piped.at_end = after, b"\x04"
        self.line.connect(self.hear)
        self.line.attach(self.reactor)

    def hear(self, data: bytes) -> None:
        self.heard += data

    def type(self, data: bytes) -> None:
        os.write(self.write_end, data)

    def end(self) -> None:
        os.close(self.write_end)

    def until(self, heard: bytes) -> None:
        while self.heard != heard:
            assert heard.startswith(self.heard)
            self.reactor.turn(10)

    def close(self) -> None:
        self.line.close()
        self.reactor.close()
        os.close(self.read_end)


@pytest.fixture
def typist() -> Iterator[Typist]:
    with contextlib.closing(Typist()) as typist:
        yield typist


def test_the_end_of_a_pipe_is_typed_as_a_person_would_and_lasts(typist: Typist) -> None:
    typist.type(b"uname -a\n")
    typist.until(b"uname -a\n")
    typist.end()
    typist.until(b"uname -a\n\x04")
    typist.until(b"uname -a\n\x04\x04\x04")


def test_an_end_within_a_line_sends_the_line_first(typist: Typist) -> None:
    typist.type(b"uname -a")
    typist.end()
    typist.until(b"uname -a\x04\x04")


def test_the_end_waits_its_turn(typist: Typist) -> None:
    room, heard = [0], list[bytes]()
    typist.line.connect(heard.append, lambda: room[0])
    typist.type(b"a line\n")
    typist.end()
    for _ in range(5):
        typist.reactor.turn(0.01)
    assert heard == []
    room[0] = 100
    typist.line.resume()
    assert b"".join(heard) == b"a line\n\x04"


def test_no_end_is_typed_unless_it_is_wanted(typist: Typist) -> None:
    typist.line.piped.at_end = b""
    typist.type(b"x")
    typist.end()
    typist.until(b"x")
    for _ in range(3):
        typist.reactor.turn(0.01)
    assert typist.reactor.clock.next_deadline() is None
    assert typist.heard == b"x"


def test_typing_begins_when_the_guest_is_ready() -> None:
    with contextlib.closing(Typist(after=b"READY")) as typist:
        typist.type(b"hello\n")
        for byte in b"REA RREAD":
            typist.line.write(bytes([byte]))
            typist.line.resume()
            typist.reactor.turn(0.01)
        assert typist.heard == b""
        typist.line.write(b"Y 2")
        typist.until(b"hello\n")
        typist.end()
        typist.until(b"hello\n\x04")


def test_an_input_that_is_closed_ends_when_the_guest_is_ready() -> None:
    reactor, heard = Reactor(), list[bytes]()
    with open(os.devnull, "wb") as nothing:
        line = Stdio(read_fd=MISSING, write_fd=nothing.fileno())
    line.piped.after, line.piped.at_end = b"READY", b"\x04"
    line.connect(heard.append)
    line.attach(reactor)
    reactor.turn()
    assert heard == []
    line.write(b"READY")
    assert heard == [b"\x04"]
    line.close()
    reactor.close()
