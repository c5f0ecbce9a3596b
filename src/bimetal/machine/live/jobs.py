"""The jobs of a machine: one for a disk at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from bimetal.base.clock import Countdown
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.events import EventKind, MachineEvent
from bimetal.machine.gate import VcpuGate
from bimetal.machine.live.job import Job
from bimetal.machine.live.news import JobNews, NewsKind, Status

__all__ = ["Jobs"]

LIMIT = 256
"""Jobs that are not dismissed."""


class Jobs:
    """Those that are not forgotten, in the order in which they were begun. An `Onlooker`."""

    def __init__(self, gate: VcpuGate):
        self._gate = gate
        self._all: dict[str, Job] = {}
        self._busy: dict[str, str] = {}
        """Disks on which jobs are at work, and which."""
        self._lock = threading.RLock()
        self.barred = False
        """Whether the machine is on its way to another process, with its disks."""

    def __iter__(self) -> Iterator[Job]:
        with self._lock:
            return iter([*self._all.values()])

    def __getitem__(self, id_: str) -> Job:
        """The job of that id. Raises `BimetalError`."""
        with self._lock:
            if id_ not in self._all:
                raise BimetalError(
                    f"there is no job {id_[:80]!r}",
                    f"there are {', '.join(self._all)}" if self._all else "there is none",
                    ExitCode.USAGE,
                )
            return self._all[id_]

    def tell(self, news: JobNews) -> None:
        """A job has told something: so is everybody else."""
        if news.kind is NewsKind.STATUS and news.job.status is Status.NULL:
            with self._lock:
                there = self._all.get(news.job.id)
                if there is not None and there.status is Status.NULL:
                    del self._all[news.job.id]
        with self._gate.lock:
            self._gate.on_event(MachineEvent(EventKind.JOB, job=news))

    def begin(self, job: Job, *, standing: bool = False) -> Job:
        """Have a job begin, of whose disk there is no other; see `Seat.visit` for ``standing``, in
        which case it only stands ready, and is to be started later. Raises `BimetalError`."""
        id_, drive = job.terms.id, job.drive
        with self._lock:
            there = self._all.get(id_)
            if (there is not None and not there.over) or len(self._all) >= LIMIT:
                raise BimetalError(
                    f"there is a job {id_[:80]!r} already, or there are too many",
                    "wait for its end, and dismiss it: query-jobs",
                    ExitCode.UNAVAILABLE,
                )
            if drive:
                self.check_idle(drive)
                self._busy[drive] = id_
            self._all[id_] = job
        job.on_over = lambda: self._free(drive)
        try:
            job.prepare(standing=standing)
        except BaseException as error:
            self._forget(job)
            if isinstance(error, OSError):
                raise BimetalError(
                    f"the job {id_!r} cannot begin: {error.strerror or error}",
                    "check the host's disk",
                    ExitCode.IO_ERROR,
                ) from error
            raise
        if not standing:
            job.start()
        return job

    def withdraw(self, job: Job) -> None:
        """Undo `begin` of one that only stands ready."""
        job.undo()
        self._forget(job)

    def check_idle(self, drive: str = "") -> None:
        """Raise `BimetalError` if a job is at work on a disk, or, for "", on any; or if the machine
        moves."""
        if self.barred:
            raise BimetalError(
                "the machine is moving to another process",
                "let it, or cancel that, and let it go on here",
                ExitCode.UNAVAILABLE,
            )
        with self._lock:
            for busy, id_ in self._busy.items():
                if drive in ("", busy):
                    raise BimetalError(
                        f"the job {id_!r} is at work on {busy}",
                        "wait for its end, or give it up: block-job-cancel",
                        ExitCode.UNAVAILABLE,
                    )

    def end(self, seconds: float) -> bool:
        """Give all of them up; False if one has not ended in so many seconds."""
        countdown = Countdown(seconds)
        return all(job.ended(countdown.left) for job in self)

    def forked(self) -> None:
        """This process is a copy, in which there are none."""
        self._all.clear()

    def _forget(self, job: Job) -> None:
        with self._lock:
            self._all.pop(job.terms.id, None)
        self._free(job.drive)

    def _free(self, drive: str) -> None:
        with self._lock:
            self._busy.pop(drive, None)
