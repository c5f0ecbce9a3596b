"""What a person at the monitor sees."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control.emulator.ordered import ordered

PROMPT = b"(bimetal) "
LIMIT = 20


class Typist:
    """A person at a socket."""

    def __init__(self, path: Path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT)
        self.socket.connect(str(path))
        self.greeting = self.printed()

    def printed(self) -> str:
        """What is printed before the next prompt."""
        said = b""
        while not said.endswith(PROMPT):
            piece = self.socket.recv(1)
            if not piece:
                raise EOFError
            said += piece
        return said.removesuffix(PROMPT).decode()

    def type(self, line: str) -> str:
        """Type a line; what it prints."""
        self.socket.sendall(line.encode() + b"\n")
        return self.printed()


@pytest.fixture
def typist(tmp_path: Path) -> Iterator[Typist]:
    with ordered(f"-monitor unix:{tmp_path}/words,server,nowait") as monitor:
        monitor.start()
        person = Typist(tmp_path / "words")
        with person.socket:
            yield person


def test_words(typist: Typist) -> None:
    assert "'help' lists the words" in typist.greeting
    assert typist.type("info status") == "VM status: paused (prelaunch)\r\n"
    assert typist.type("") == ""
    assert "unknown command: 'frob'" in typist.type("frob")
    assert "system_reset" in typist.type("help\r")


def test_several_lines_at_once_are_answered_in_order(typist: Typist) -> None:
    typist.socket.sendall(b"info name\ninfo status\ninfo kvm\n")
    assert [typist.printed() for _ in range(3)] == [
        "",
        "VM status: paused (prelaunch)\r\n",
        "kvm support: disabled\r\n",
    ]


def test_who_sends_a_line_without_an_end_is_hung_up_on(typist: Typist) -> None:
    typist.socket.sendall(b"x" * 5000)
    with pytest.raises((EOFError, ConnectionResetError)):
        typist.printed()


def test_bytes_that_are_no_text(typist: Typist) -> None:
    typist.socket.sendall(b"\xff\xfe\0\n")
    assert "unknown command" in typist.printed()
