"""What a guest is told of its console, and how the end of a pipe reaches it."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bimetal import Machine
from bimetal.cli.line import connect_pipe, words_for


@pytest.fixture
def standard(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Standard input and output: terminals or not, and of what size and kind."""

    def be(*, input: bool, output: bool, size: tuple[int, int] = (0, 0), kind: str = "") -> None:
        monkeypatch.setattr("os.isatty", lambda fd: [input, output][fd])
        monkeypatch.setattr("os.get_terminal_size", lambda fd: os.terminal_size(size))
        monkeypatch.setenv("TERM", kind)

    return be


def test_size_and_kind_of_a_terminal(standard: Any) -> None:
    standard(input=True, output=True, size=(132, 43), kind="screen-256color")
    assert words_for("stdio") == ["bmsize=132x43", "TERM=screen-256color"]
    assert words_for("stdio", follows=True) == ["bmsize=132x43,hvc0", "TERM=screen-256color"]


@pytest.mark.parametrize("kind", ["", "two words", 'a"quote', "-x", "\n"])
def test_what_no_terminal_is_called_does_not_get_into_the_command_line(
    standard: Any, kind: str
) -> None:
    standard(input=True, output=True, kind=kind)
    assert words_for("stdio") == []


def test_pipes(standard: Any) -> None:
    standard(input=False, output=False, kind="xterm")
    assert words_for("stdio") == ["bminput=pipe", "TERM=dumb"]
    standard(input=True, output=False, kind="xterm")
    assert words_for("stdio") == ["TERM=dumb"]
    standard(input=False, output=True, size=(80, 25), kind="xterm")
    assert words_for("stdio") == ["bminput=pipe", "bmsize=80x25", "TERM=xterm"]


def test_who_dials_in_is_asked(standard: Any) -> None:
    standard(input=True, output=True, kind="xterm")
    for serial in ("pty", "unix:/run/line", "tcp:127.0.0.1:0"):
        assert words_for(serial, follows=True) == ["bmsize=ask"]
    for serial in ("none", "file:log"):
        assert words_for(serial) == []


@pytest.mark.parametrize(
    ("append", "knows"),
    [
        ("console=ttyS0 bminput=pipe TERM=dumb", True),
        ('bminput=pipe bmrun="cat; wc"', True),
        ("bminput=pipe bmroot=/dev/vda", False),
        ("bminput=pipe it's", True),
        ('bminput=pipe bmrun="echo', True),
        ('bminput=pipe "bmroot=/dev/vda"', False),
        ('bmrun="echo bminput=pipe"', False),
        ("console=ttyS0", False),
    ],
)
def test_only_who_knows_of_a_pipe_is_told_of_its_end(append: str, knows: bool) -> None:
    told: list[tuple[str, str]] = []
    console = SimpleNamespace(pipe=lambda *words: told.append(words))
    machine = SimpleNamespace(config=SimpleNamespace(append=append), console=console)
    connect_pipe(cast(Machine, machine))
    assert told == [("BIMETAL-GUEST-UP", "\x04")] * knows
