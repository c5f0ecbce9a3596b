"""The translator's process as its parent sees it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from math import ceil
from typing import Any

from ..base import trace
from ..base.clock import monotonic_seconds
from ..isa.describe import Isa
from ..isa.names import INSTRUCTION_SETS
from .children import Outliving, leave, reap
from .frames import BadFrame, FrameReader, pack
from .identity import OTHER_ENGINE, engine_digest
from .job import Compiled, Job

__all__ = ["OtherEngine", "Worker", "WorkerLost", "module_command", "popen_arguments"]

PATIENCE = 120
"""Seconds without an answer after which the process counts as lost. The longest jobs take a second
or two."""

LOOK_SECONDS = 1.0


def module_command(module: str, *arguments: str) -> Mapping[str, Any]:
    """The arguments of `subprocess.Popen` for running one of our modules in a new process."""
    return {
        # -P: modules are found where ours are, never in the current folder.
        "args": [sys.executable, "-P", "-m", module, *arguments],
        "env": {
            **os.environ,
            **trace.environment(),
            "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path if path),
        },
    }


def popen_arguments(module: str, isa: Isa, shared: bool, *more: str) -> Mapping[str, Any]:
    """The same for a module that translates code of ``isa``, if it has the same engine."""
    words = INSTRUCTION_SETS[isa.name], "shared" if shared else "alone"
    return module_command(module, *words, engine_digest(isa, shared).hex(), *more)


class WorkerLost(Exception):
    """The translator's process cannot answer any more; the message says why."""


class OtherEngine(WorkerLost):
    """What a translator would make does not fit this process, and so it has ended."""


class Worker:
    """The parent's end of a translator: `submit` hands jobs in, `answer` returns the answers in the
    same order."""

    def __init__(self, isa: Isa, shared: bool):
        self._answers, theirs = os.pipe()
        try:
            # Answers have a pipe of their own: anything may print to standard output.
            self._process = Outliving(
                **popen_arguments("bimetal.codegen.translator", isa, shared, str(theirs)),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                bufsize=0,
                pass_fds=[theirs],
            )
        except BaseException:
            os.close(self._answers)
            raise
        finally:
            os.close(theirs)
        self._reader = FrameReader()
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)
        self._looked = self._silent = 0.0
        self.waiting = 0
        self._closed = False

    @property
    def pid(self) -> int:
        """The process ID."""
        return self._process.pid

    def submit(self, job: Job) -> bool:
        """Hand in a job; False if the process is gone."""
        pipe, left = self._process.stdin, memoryview(pack(job.frame()))
        assert pipe is not None
        try:
            while left:
                left = left[pipe.write(left) :]
        except (OSError, ValueError):
            return False
        if not self.waiting:
            self._looked, self._silent = monotonic_seconds(), 0.0
        self.waiting += 1
        return True

    def answer(self, seconds: float | None = 0) -> Compiled | None:
        """The next answer, or None if it does not arrive within ``seconds`` (None: no limit).

        Raises `WorkerLost` if no answer can come any more.
        """
        end = None if seconds is None else monotonic_seconds() + seconds
        while self.waiting:
            if (frame := self._take()) is not None:
                return frame
            now = monotonic_seconds()
            wait = LOOK_SECONDS if end is None else min(LOOK_SECONDS, max(0.0, end - now))
            if self._poll.poll(ceil(wait * 1000)):
                self._receive()
                continue
            self._be_patient(now)
            if end is not None and now >= end:
                break
        return None

    def let_go(self) -> None:
        """Close this process's copies of the pipes: the worker is another process's."""
        self._closed = True
        assert self._process.stdin is not None
        self._process.stdin.close()
        os.close(self._answers)

    def close(self) -> None:
        """End the process. Idempotent."""
        if self._closed:
            return
        self._closed = True
        reap()
        self._process.kill()
        try:
            self._process.wait(LOOK_SECONDS)
        except subprocess.TimeoutExpired:  # it still has to be given processor time for its end
            leave(self._process)
        assert self._process.stdin is not None
        self._process.stdin.close()
        os.close(self._answers)
        self.waiting = 0

    def _take(self) -> Compiled | None:
        try:
            frame = self._reader.take()
            if frame is None:
                return None
            self.waiting -= 1
            return Compiled.of(frame)
        except BadFrame as error:
            raise WorkerLost(str(error)) from error

    def _receive(self) -> None:
        data = os.read(self._answers, 1 << 20)
        if not data:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(LOOK_SECONDS)
            if self._process.returncode == OTHER_ENGINE:
                raise OtherEngine("Bimetal has changed since this machine was started")
            raise WorkerLost(f"it ended with code {self._process.returncode}")
        self._reader.feed(data)
        self._silent = 0.0

    def _be_patient(self, now: float) -> None:
        """Count how long no answer has come. Time in which nobody asked does not count, because
        this process and the translator may have been stopped together.

        Raises `WorkerLost` after `PATIENCE` seconds.
        """
        self._silent += min(LOOK_SECONDS, now - self._looked)
        self._looked = now
        if self._silent > PATIENCE:
            raise WorkerLost(f"it has not answered for {PATIENCE} seconds")
