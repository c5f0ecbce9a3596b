"""The jobs of a machine: one for a disk at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bimetal.base.clock import Countdown
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.failing import host_failures
from bimetal.machine.events import EventKind, MachineEvent
from bimetal.machine.gate import VcpuGate
from bimetal.machine.live.departed import Departed
from bimetal.machine.live.exports import Exports
from bimetal.machine.live.news import JobNews, NewsKind, Status

if TYPE_CHECKING:
    from bimetal.machine.live.job import Job

__all__ = ["Jobs"]

LIMIT = 256
"""Jobs that are not dismissed."""


class _Brief:
    """Something that is done to disks and is soon over."""


class Jobs:
    """Those that are not forgotten, in the order in which they were begun. An `Onlooker`."""

    def __init__(self, gate: VcpuGate):
        self._gate = gate
        self._all: dict[str, Job] = {}
        self._busy: dict[str, Job | _Brief] = {}
        """Disks to which something is done, and the jobs that are at work on them."""
        self._lock = threading.RLock()
        self.exports = Exports(gate.lock)
        """Images that are served."""
        self.departed = Departed()
        """Images that disks had before."""
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

    @contextmanager
    def alone(self, *drives: str) -> Iterator[None]:
        """A context in which nobody else does anything to these disks, nor begins a job on them.
        Raises `BimetalError` if somebody does already."""
        here = _Brief()
        with self._lock:
            if self.barred:
                self.check_idle()
            for drive in dict.fromkeys(drives):
                self.check_idle(drive)
            self._busy |= dict.fromkeys(drives, here)
        try:
            yield
        finally:
            with self._lock:
                for drive in drives:
                    if self._busy.get(drive) is here:  # no job of it has begun
                        del self._busy[drive]

    def begin(self, job: Job, *, standing: bool = False) -> Job:
        """Have a job begin, of whose disk there is no other, in a context `alone`; see `Seat.visit`
        for ``standing``, in which case it only stands ready, and is to be started later. Raises
        `BimetalError`."""
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
                if self.barred or not isinstance(self._busy.get(drive), _Brief | None):
                    self.check_idle(drive)
                self._busy[drive] = job
            self._all[id_] = job
        job.on_over = partial(self._over, job)
        try:
            with host_failures(f"the job {id_!r} cannot begin"):
                job.prepare(standing=standing)
        except BaseException:
            self._forget(job)
            raise
        if not standing:
            job.start()
        return job

    def withdraw(self, job: Job) -> None:
        """Undo `begin` of one that only stands ready, while the machine stands."""
        job.undo(standing=True)
        self._forget(job)

    @contextmanager
    def here(self) -> Iterator[None]:
        """A context in which the machine does not begin to move. Raises `BimetalError` if it
        moves."""
        with self._lock:
            if self.barred:
                self.check_idle()
            yield

    @contextmanager
    def copies_at_rest(self) -> Iterator[None]:
        """A context, of somebody for whom the machine stands, in which no job writes to a copy."""
        with ExitStack() as held:
            for job in self:
                held.enter_context(job.at_rest())
            yield

    def bar(self) -> None:
        """Have nothing done to disks any more, until ``barred`` is False. Raises `BimetalError` if
        something is done to one."""
        with self._lock:
            self.check_idle()
            self.barred = True

    def check_idle(self, drive: str = "") -> None:
        """Raise `BimetalError` if something is done to a disk, or, for "", to any, or they are
        served, or if the machine moves."""
        if self.barred:
            raise BimetalError(
                "the machine is moving to another process",
                "let it, or cancel that, and let it go on here",
                ExitCode.UNAVAILABLE,
            )
        with self._lock:
            for busy, who in self._busy.items():
                if drive in ("", busy):
                    raise _busy(busy, who)
        if not drive and self.exports.serving:
            raise BimetalError(
                "there is a server of the machine's disks",
                "end that: nbd-server-stop",
                ExitCode.UNAVAILABLE,
            )

    def end(self, seconds: float) -> bool:
        """Give all of them up; False if one has not ended in so many seconds."""
        countdown = Countdown(seconds)
        return all(job.ended(countdown.left) for job in self)

    def forked(self) -> None:
        """This process is a copy, in which there are none."""
        self._all.clear()
        self._busy.clear()

    def _forget(self, job: Job) -> None:
        with self._lock:
            self._all.pop(job.terms.id, None)
        self._free(job)

    def _over(self, job: Job) -> None:
        self.departed.keep(job.departed)
        self._free(job)

    def _free(self, job: Job) -> None:
        with self._lock:
            if self._busy.get(job.drive) is job:
                del self._busy[job.drive]


def _busy(drive: str, who: Job | _Brief) -> BimetalError:
    if not isinstance(who, _Brief):
        return BimetalError(
            f"the job {who.terms.id!r} is at work on {drive}",
            "wait for its end, or give it up: block-job-cancel",
            ExitCode.UNAVAILABLE,
        )
    return BimetalError(
        f"something else is being done to {drive}", "do it again", ExitCode.UNAVAILABLE
    )
