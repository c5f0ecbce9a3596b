"""The host's own processor as an oracle for debugging: code is executed under ptrace, and each stop
is told of."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["CODE", "COMPILER", "DATA", "SIGNALS", "SIZE", "Debugged", "Stop", "traced"]

COMPILER = "cc"
CODE, DATA, SIZE = 0x2_8000, 0x3_0000, 0x8000
"""Where code and memory are; RSP is the end of the latter."""
SIGNALS = {0: 8, 1: 5, 3: 5, 4: 11, 6: 4, 12: 7, 13: 11, 14: 11, 17: 7}
"""What signals Linux makes of exceptions."""
REPORTED = 0xE00F
"""Of DR6."""


class Debugged(NamedTuple):
    """What is executed: code, which begins at `CODE`, with debug registers."""

    code: bytes
    dr: tuple[int, ...] = ()
    dr7: int = 0


class Stop(NamedTuple):
    """A stop: where, behind `CODE`; what DR6 says; RF, which the kernel sets where a breakpoint was
    met; and the signal."""

    at: int
    dr6: int
    rf: int
    signal: int

    @classmethod
    def of(cls, rip: int, dr6: int, rflags: int, signal: int) -> Stop:
        """From registers."""
        return cls(rip - CODE, dr6 & REPORTED, rflags >> 16 & 1, signal)


@cache
def _program(folder: Path) -> Path:
    made = folder / "traced"
    source = Path(__file__).with_name("traced.c")
    subprocess.run([COMPILER, "-O1", "-o", str(made), str(source)], check=True)
    return made


def traced(program: Debugged, folder: Path) -> list[Stop]:
    """The stops of a program, up to the first signal that is none of a debugger's."""
    addresses = (*program.dr, 0, 0, 0, 0)[:4]
    words = [str(word) for word in (CODE, DATA, SIZE, *addresses, program.dr7)]
    done = subprocess.run(
        [str(_program(folder)), *words], input=program.code, capture_output=True, check=True
    )
    return [Stop.of(*map(int, line.split())) for line in done.stdout.splitlines()]
