"""The translator's process as its parent sees it, and the messages between them.

Messages are pickles with a length before them, between processes that trust each other.
"""

from __future__ import annotations

import os
import pickle
import select
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from ..base import trace
from ..isa.describe import Isa
from .part import Part
from .policy import USUAL, Policy

__all__ = ["Compiled", "Job", "Worker", "joint_name", "popen_arguments", "receive", "send"]


@dataclass(frozen=True, slots=True)
class Job:
    """A page's code, where to enter it, and a byte for each granule that has been executed.

    The code that leads to each of ``jumps`` shall be entered too, where it begins, unless an entry
    is ``there`` already. ``level`` is 1 for code that is wanted soon, 2 for code that is worth more
    work; ``symbol`` is the name under which the object shall define the region.
    """

    code: bytes
    entries: tuple[int, ...]
    executed: bytes
    level: int
    symbol: str
    policy: Policy = USUAL
    jumps: tuple[int, ...] = ()
    there: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Compiled:
    """The answer to a job: an object, or no content where no region can be had.

    ``entries`` are where the region can be entered, ``steps`` the offsets of its instructions,
    ``seconds`` the processor time it took.
    """

    content: bytes = b""
    entries: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    seconds: float = 0.0

    def part(self, job: Job) -> Part:
        """What the store shall know of the region."""
        return Part(job.level, job.symbol, self.entries, self.steps)


def joint_name(isa: Isa, joint: str) -> str:
    """The name by which objects know an interpreter's joint."""
    return f"bimetal_{isa.name}_{joint}"


def send(pipe: IO[bytes], message: object) -> None:
    """Write a message."""
    body = pickle.dumps(message)
    left = memoryview(struct.pack("<I", len(body)) + body)
    while left:
        left = left[pipe.write(left) :]
    pipe.flush()


def receive(pipe: IO[bytes]) -> object | None:
    """Read a message; None at the end."""
    head = _read(pipe, 4)
    if len(head) < 4:
        return None
    (size,) = struct.unpack("<I", head)
    body = _read(pipe, size)
    return pickle.loads(body) if len(body) == size else None


def _read(pipe: IO[bytes], size: int) -> bytes:
    """Read so many bytes, or what there is before the end."""
    parts, left = [], size
    while left and (part := pipe.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def popen_arguments(module: str, isa: Isa, shared: bool) -> Mapping[str, Any]:
    """The arguments of `subprocess.Popen` for a module that translates."""
    return {
        # Modules come from where ours do, never from the folder that we happen to run in (-P).
        "args": [sys.executable, "-P", "-m", module, isa.name, "shared" if shared else "alone"],
        "env": {
            **os.environ,
            **trace.environment(),
            "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path if path),
        },
    }


class Worker:
    """The parent's end: jobs go in with `submit`, answers come out of `answer` in their order."""

    def __init__(self, isa: Isa, shared: bool):
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            **popen_arguments("bimetal.codegen.translator", isa, shared),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Unbuffered: an answer that stands in a buffer of ours is none that `select` sees.
            bufsize=0,
        )
        self.waiting = 0

    def submit(self, job: Job) -> bool:
        """Hand in a job; False once the process is gone."""
        assert self._process.stdin is not None
        try:
            send(self._process.stdin, job)
        except (OSError, ValueError):
            return False
        self.waiting += 1
        return True

    def answer(self, seconds: float | None = 0) -> Compiled | None:
        """The next answer, if it comes within some seconds; None waits for it."""
        pipe = self._process.stdout
        assert pipe is not None
        if not self.waiting or not select.select([pipe], [], [], seconds)[0]:
            return None
        answer = receive(pipe)
        self.waiting -= 1
        return answer if isinstance(answer, Compiled) else Compiled()

    def close(self) -> None:
        """End the process. Idempotent."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
