"""One run of an emulator: a process, its output, and when a line of it came."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Run", "laps", "run"]

TICKS_A_SECOND = 10_000_000
"""The timebase of the board ``virt``."""


@dataclass(frozen=True)
class Run:
    """What a run cost: seconds to the marker, seconds in all, and what was printed."""

    marker: float | None
    total: float
    output: str
    code: int


def run(command: Sequence[str], marker: str = "", limit: float = 300) -> Run:
    """Run ``command`` without input until it ends or has printed ``marker``."""
    # As a person would run it: Python keeps what it has compiled of our sources.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    begin = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    output, seen, wanted = b"", None, marker.encode()
    while (left := limit - (time.perf_counter() - begin)) > 0:
        if not select.select([process.stdout], [], [], left)[0]:
            break
        piece = os.read(process.stdout.fileno(), 65536)
        if not piece:
            break
        output += piece
        if wanted and wanted in output:
            seen = time.perf_counter() - begin
            break
    else:
        raise TimeoutError(f"{command[0]} took longer than {limit:.0f} s")
    if seen is not None:
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    process.stdout.close()
    return Run(seen, time.perf_counter() - begin, output.decode(errors="replace"), code)


def laps(result: Run) -> list[tuple[str, float]]:
    """What a bench guest printed for each lap: its result, and its seconds by the guest's clock."""
    found = re.findall(r"BENCH \w+ lap=\d+ result=(\w+) ticks=(\d+)", result.output)
    if not found:
        raise ValueError(f"no result in the output:\n{result.output}")
    return [(value, int(ticks) / TICKS_A_SECOND) for value, ticks in found]
