"""How long a guest takes until it speaks: shown while it does, and remembered for the next time."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from bimetal import BimetalError, Machine, cache_folder
from bimetal.cli.status import STATUS, StatusLine

__all__ = ["Boot", "BootTimes"]

TICK = 1.0
"""Seconds until something is shown, and then from one text to the next."""

LONGEST = 86_400.0
NEWS = 0.5
"""The weight of the last time against the average of all earlier ones."""


class BootTimes:
    """The usual seconds, by what is booted, in a file of the cache folder. If it cannot be read
    or written, nothing is lost."""

    def __init__(self) -> None:
        self._path = cache_folder() / "boot-times.json"

    def usual(self, what: str) -> float | None:
        """The seconds that ``what`` usually takes, or None if it is new."""
        seconds = self._read().get(what)
        if isinstance(seconds, int | float) and 0 < seconds < LONGEST:
            return float(seconds)
        return None

    def note(self, what: str, seconds: float) -> None:
        """``what`` took so many seconds."""
        before = self.usual(what)
        new = seconds if before is None else before + (seconds - before) * NEWS
        times = {**self._read(), what: round(new, 2)}
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            scratch = self._path.with_suffix(f".{os.getpid()}")
            try:
                scratch.write_text(json.dumps(times, indent=1) + "\n")
                scratch.replace(self._path)
            except OSError:
                scratch.unlink(missing_ok=True)
                raise

    def _read(self) -> dict[str, object]:
        with suppress(OSError, ValueError, RecursionError):
            times = json.loads(self._path.read_text())
            if isinstance(times, dict):
                return times
        return {}


class Boot:
    """Shows that ``machine`` is about to speak; a context manager around its run, to be entered
    once it has started. Times are remembered for each ``guest``, unless that is "", and kind of
    machine."""

    def __init__(self, machine: Machine, guest: str, status: StatusLine = STATUS):
        self._machine, self._guest, self._status = machine, guest, status
        self._what = ""
        self._spoken, self._over = threading.Event(), threading.Event()
        self._silence = threading.Lock()
        self._watcher: threading.Thread | None = None

    def __enter__(self) -> Self:
        machine = self._machine
        if self._guest:
            self._what = f"{self._guest} on {machine.board}, {machine.accel}, {machine.config.cpus}"
        if self._status.possible:
            self._watcher = threading.Thread(target=self._watch, name="boot", daemon=True)
            self._watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._over.set()
        self._hear()

    def _watch(self) -> None:
        times = BootTimes()
        usual = times.usual(self._what)
        console = self._machine.console
        with suppress(BimetalError), console.search(".", None, self._hear):
            if console.log:
                self._hear()
            seconds = 0
            while not self._spoken.wait(TICK):
                seconds += 1
                self._show(seconds, usual)
        if self._what and not self._over.is_set():
            times.note(self._what, self._machine.stats().seconds)

    def _show(self, seconds: int, usual: float | None) -> None:
        text = f"bimetal: booting, {seconds} s"
        if usual is not None:
            text += f"; it usually speaks after {max(1, round(usual))} s"
        with self._silence:
            if not self._spoken.is_set():
                self._status.show(text)

    def _hear(self) -> None:
        """The guest speaks, or the run is over: called before the terminal is given the output."""
        if not self._spoken.is_set():
            with self._silence:
                self._spoken.set()
                self._status.erase()
