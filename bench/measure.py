"""One run of an emulator: a process, its output, and when a piece of it came."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bimetal.codegen.store import CodeStore

__all__ = ["Run", "Running", "alternate", "run", "settle", "store_of"]


class Running:
    """A process without input, in a session of its own; with the ``with`` statement it ends too.

    ``cache`` is the folder that it takes for ``XDG_CACHE_HOME``, where that is not the user's.
    """

    def __init__(self, command: Sequence[str], cache: Path | None = None):
        # As a person would run it: Python keeps what it has compiled of our sources.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        if cache is not None:
            environment["XDG_CACHE_HOME"] = str(cache)
        self.name = command[0]
        self.begin = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self._pipe = self.process.stdout
        self._printed = b""
        self.ended = False

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.perf_counter() - self.begin

    @property
    def output(self) -> str:
        """What it has printed so far, as far as it was listened to."""
        return self._printed.decode(errors="replace")

    def listen(self, seconds: float, marker: str = "") -> float | None:
        """Take output for so long, or to the end, or until ``marker`` has been printed.

        Returns when the marker came, in seconds since the start, or None if it did not.
        """
        until = time.perf_counter() + seconds
        wanted = marker.encode()
        while not (wanted and wanted in self._printed):
            left = until - time.perf_counter()
            if self.ended or left <= 0 or not select.select([self._pipe], [], [], left)[0]:
                return None
            piece = os.read(self._pipe.fileno(), 65536)
            self.ended = not piece
            self._printed += piece
        return self.seconds

    def stop(self) -> int:
        """End it if it still runs, with all it has started; its exit code. Idempotent."""
        if not self.ended and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        code = self.process.wait()
        self._pipe.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass(frozen=True)
class Run:
    """What a run cost: seconds to the marker, seconds in all, and what was printed."""

    marker: float | None
    total: float
    output: str
    code: int


def store_of(cache: Path | None) -> CodeStore:
    """The store of compiled code in a cache, or the user's."""
    return CodeStore(cache and cache / "bimetal" / "code")


def settle(cache: Path | None) -> None:
    """Wait until nothing is compiled in the background any more for later runs with a cache."""
    store = store_of(cache)
    while store.is_claimed():
        time.sleep(0.05)
    store.close()


def run(
    command: Sequence[str],
    marker: str = "",
    *,
    to_end: bool = False,
    limit: float = 300,
    cache: Path | None = None,
) -> Run:
    """Run ``command`` until it ends, or has printed ``marker`` unless it is to go on ``to_end``.

    What it leaves to be compiled in the background is waited for, so that nothing of it runs beside
    the next command.
    """
    with Running(command, cache) as running:
        seen = running.listen(limit, marker) if marker else None
        if seen is None or to_end:
            running.listen(limit - running.seconds)
            if not running.ended:
                raise TimeoutError(f"{running.name} took longer than {limit:.0f} s")
        code = running.stop()
        total = running.seconds
    settle(cache)
    return Run(seen, total, running.output, code)


def alternate(
    ours: Sequence[str], theirs: Sequence[str], rounds: int, cache: Path | None = None
) -> list[tuple[Run, Run]]:
    """Both commands in turn, each to its end, after one run of each that is not counted.

    What else the host does falls on both. ``cache`` is for ours.
    """
    pairs = [(run(ours, cache=cache), run(theirs)) for _ in range(rounds + 1)]
    return pairs[1:]
