"""Conversations with booted guests, held on a terminal like a person's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pexpect
import pytest

from bimetal import BimetalError, Payload, fetch_guest
from bimetal.codegen.interpreter import interpreter
from bimetal.isa.names import architecture
from tests.control.conftest import homes, install
from tests.host import lacking
from tests.spawned import kill, wait_for_end

__all__ = ["LIMIT", "PROMPT", "SOURCE", "Fetch", "Terminal", "clean", "compile_x86", "fetched"]
__all__ += ["file_of_initrd", "homes", "install", "run_piped", "terminal"]

SOURCE = Path(__file__).resolve().parents[2] / "src"
PROMPT = "# "
LIMIT = 300
"""Seconds for a guest to answer, on a slow and busy host."""

Fetch = Callable[[str], Payload]


class Terminal:
    """``bimetal run`` on a terminal of its own."""

    def __init__(self, *words: str):
        path = os.pathsep.join([str(SOURCE), *sys.path])
        self._process = pexpect.spawn(
            sys.executable,
            ["-m", "bimetal", "run", *words],
            env={**os.environ, "PYTHONPATH": path, "TERM": "dumb"},
            encoding="utf-8",
            codec_errors="replace",
            timeout=LIMIT,
            echo=False,
            dimensions=(40, 200),
        )

    def expect(self, text: str) -> str:
        """Wait for ``text``; what was printed before it."""
        self._process.expect_exact(text)
        return str(self._process.before)

    def send(self, text: str) -> None:
        """Type ``text``."""
        self._process.send(text)

    def do(self, command: str, status: int = 0) -> str:
        """Type a command at the prompt; what it printed. It must end with ``status``."""
        # The marks are written so that what is typed, and echoed, does not look like them.
        self._process.send(f"echo be''gin; {command}; echo en''d=$?\r")
        self._process.expect(r"begin\r*\n(.*?)end=([0-9]+)\r")
        match = self._process.match
        assert isinstance(match, re.Match)
        printed, ended = clean(match[1]), int(match[2])
        self.expect(PROMPT)
        assert ended == status, f"{command}: {ended}\n{printed}"
        return printed.removesuffix("\n")

    def memory(self) -> int:
        """Bytes of memory that the process has of the host."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s*(\d+) kB", status)
        assert found is not None
        return int(found[1]) << 10

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal, which was 200 by 40."""
        self._process.setwinsize(rows, columns)

    def end(self) -> int:
        """Wait for the process; its exit code."""
        wait_for_end(self._process)
        assert self._process.signalstatus is None, f"ended by {self._process.signalstatus}"
        code = self._process.exitstatus
        assert isinstance(code, int)
        return code

    def kill(self) -> None:
        """End it if it still runs."""
        kill(self._process)


def run_piped(*words: str, typed: str) -> subprocess.CompletedProcess[str]:
    """``bimetal run`` whose standard streams are pipes, from its start to its end."""
    path = os.pathsep.join([str(SOURCE), *sys.path])
    return subprocess.run(
        [sys.executable, "-m", "bimetal", "run", *words],
        env={**os.environ, "PYTHONPATH": path},
        input=typed,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def file_of_initrd(initrd: Path, name: str) -> bytes:
    """A file of an initial file system, which is a cpio archive of the kind "newc" (cpio(5))."""
    data, at = initrd.read_bytes(), 0
    while data[at : at + 6] == b"070701":
        size, length = (int(data[at + n : at + n + 8], 16) for n in (54, 94))
        content = -(-(at + 110 + length) // 4) * 4
        if data[at + 110 : at + 110 + length] == name.encode() + b"\0":
            return data[content : content + size]
        at = -(-(content + size) // 4) * 4
    raise AssertionError(f"{initrd} holds no {name}")


def clean(text: str) -> str:
    """Terminal output without control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "")


@cache
def compile_x86() -> None:
    """The interpreters are there before a guest is waited for: for the first time that takes longer
    than any answer of a guest."""
    for shared in (False, True):
        interpreter(architecture("x86_64").isa, shared)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Start ``bimetal run`` with the words given; it is ended with the test."""
    started: list[Terminal] = []

    def start(*words: str) -> Terminal:
        started.append(Terminal(*words))
        return started[-1]

    yield start
    for each in started:
        each.kill()


@pytest.fixture(scope="session")
def fetched() -> Fetch:
    """Guests of the catalogue. Without a network their tests are skipped, but not by .ci/run."""

    def get(name: str) -> Payload:
        try:
            return fetch_guest(name)
        except BimetalError as error:
            lacking(str(error))
            raise

    return get
