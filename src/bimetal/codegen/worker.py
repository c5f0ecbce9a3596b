"""The translator's process as its parent sees it, and the messages between them.

Messages are pickles with a length before them, between processes that trust each other.
"""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
from dataclasses import dataclass
from typing import IO

from ..isa.describe import Isa

__all__ = ["Compiled", "Job", "Worker", "joint_name", "receive", "send"]


@dataclass(frozen=True, slots=True)
class Job:
    """A page's code, where to enter it, and a byte for each offset that has been executed."""

    number: int
    code: bytes
    entries: tuple[int, ...]
    executed: bytes
    symbol: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """The answer: an object that defines the symbol, or nothing to be had for these entries."""

    number: int
    content: bytes
    entries: tuple[int, ...]
    instructions: int
    seconds: float


def joint_name(isa: Isa, joint: str) -> str:
    """The process-wide name of an interpreter's joint."""
    return f"bimetal_{isa.name}_{joint}"


def send(pipe: IO[bytes], message: object) -> None:
    """Write a message."""
    body = pickle.dumps(message)
    pipe.write(struct.pack("<I", len(body)) + body)
    pipe.flush()


def receive(pipe: IO[bytes]) -> object | None:
    """Read a message; None at the end."""
    head = pipe.read(4)
    if len(head) < 4:
        return None
    (size,) = struct.unpack("<I", head)
    body = pipe.read(size)
    return pickle.loads(body) if len(body) == size else None


class Worker:
    """The parent's end. One job is under way at a time; `take` waits for its answer."""

    def __init__(self, isa: Isa):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bimetal.codegen.translator", isa.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def translate(self, job: Job) -> Compiled | None:
        """Have a job done; None once the process is gone."""
        try:
            assert self._process.stdin is not None and self._process.stdout is not None
            send(self._process.stdin, job)
            answer = receive(self._process.stdout)
        except (OSError, ValueError):
            return None
        return answer if isinstance(answer, Compiled) else None

    def close(self) -> None:
        """End the process. Idempotent."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
