"""Work on the disks of a machine that goes on beside the guest, in a thread of its own."""

from __future__ import annotations

import errno
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

from msgspec import Struct

from bimetal.backends.block.block import Block
from bimetal.base.clock import monotonic_seconds
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.threads import EndingThread
from bimetal.machine.live.news import JobNews, JobView, NewsKind, Status

__all__ = ["CHUNK", "POLICIES", "Cancelled", "Job", "Terms"]

CHUNK = 1 << 20
"""Bytes that a job moves at once: what a guest's request may have to wait for."""

LEAST = 64 << 10

POLICIES = ("report", "ignore", "stop", "enospc", "auto")
"""What may be done about an error of the host: give the job up, try again, have it wait until it is
resumed, or that if there is no room and else give up, twice."""

RETRY_SECONDS = 0.1
FULL = (errno.ENOSPC, errno.EDQUOT)
FINAL = (Status.WAITING, Status.PENDING, Status.ABORTING, Status.CONCLUDED, Status.NULL)


class Cancelled(Exception):
    """The job was cancelled."""


class Terms(Struct, frozen=True):
    """What is asked of a job, besides its work: its ``id``, bytes of a second or 0, what to do
    about errors, and whether it goes through its last two steps by itself."""

    id: str
    speed: int = 0
    on_source_error: str = "report"
    on_target_error: str = "report"
    auto_finalize: bool = True
    auto_dismiss: bool = True

    def __post_init__(self) -> None:
        if self.speed < 0 or not self.id:
            raise BimetalError(
                f"a job {self.id!r} with a speed of {self.speed}",
                "give it a name, and a speed from 1 on, or 0 for as fast as it can",
                ExitCode.USAGE,
            )
        for policy in (self.on_source_error, self.on_target_error):
            if policy not in POLICIES:
                raise BimetalError(
                    f"errors are not answered by {policy!r}",
                    f"choose from {', '.join(POLICIES)}",
                    ExitCode.USAGE,
                )


class Job(ABC):
    """Its ``kind`` is QMP's word for it, ``drive`` what the disk is called that it works on, or "".
    ``tell`` hears of all that happens to it, in any thread."""

    kind: ClassVar[str]
    completes: ClassVar[bool] = False
    """Whether it goes on until it is completed, and can be."""

    def __init__(self, terms: Terms, drive: str, tell: Callable[[JobNews], None]):
        self.terms, self.drive = terms, drive
        self.status, self.error, self.stuck = Status.CREATED, "", ""
        self.on_over: Callable[[], None] = lambda: None
        """Called when it touches no disk any more."""
        self.departed: list[Block] = []
        """Images that no disk has any more since it has ended. They are closed."""
        self._tell, self._speed = tell, terms.speed
        self._done = 0
        self._free_at = 0.0
        """When the next bytes may be moved."""
        self._changed = threading.Condition()
        self._cancelled = self._held = self._finalized = False
        self._ending = self._pivots = False
        self._thread = EndingThread(self._main, f"job-{terms.id[:20]}")

    # What kinds of jobs define

    @abstractmethod
    def prepare(self, *, standing: bool) -> None:
        """Do what has to be done at the moment when the job is asked for; see `Seat.visit` for
        ``standing``. Raises OSError and `BimetalError`, and then nothing has changed."""

    @abstractmethod
    def work(self) -> None:
        """Do all but the last step. Raises `Cancelled`, OSError and `BimetalError`."""

    @abstractmethod
    def switch(self) -> None:
        """Do the last step, after which the machine's disk is another one, if the job is for that.
        Raises OSError and `BimetalError`, and then nothing has changed."""

    @abstractmethod
    def undo(self, *, standing: bool = False) -> None:
        """The job has failed or was cancelled: leave all as it was; see `Seat.visit` for
        ``standing``. It never fails."""

    def at_rest(self) -> AbstractContextManager[object]:
        """A context, of somebody for whom the machine stands, in which it writes to no copy."""
        return nullcontext()

    @property
    def total(self) -> int:
        """Bytes that are to be moved in all, as far as is known."""
        return self._done

    # What others do with it

    @property
    def view(self) -> JobView:
        """How it is now."""
        done = self._done
        return JobView(
            self.terms.id, self.kind, self.drive, self.status, done, max(done, self.total),
            self._speed, self.error, self.stuck,
            self.terms.auto_finalize, self.terms.auto_dismiss,
        )  # fmt: skip

    @property
    def over(self) -> bool:
        """Whether it has ended, and is forgotten or is about to be."""
        ended = self.status is Status.CONCLUDED and self.terms.auto_dismiss
        return ended or self.status is Status.NULL

    @property
    def _waits_to_finalize(self) -> bool:
        waits = not (self.terms.auto_finalize or self._finalized)
        return waits and self.status is Status.PENDING

    def start(self) -> None:
        """Begin."""
        self._tell(JobNews(NewsKind.STATUS, self.view))
        self._become(Status.RUNNING)
        self._thread.start()

    def cancel(self, *, force: bool = True) -> None:
        """Give it up. One that is ready, and is not forced, ends as it is: the copy is what the
        disk is at that moment. Raises `BimetalError` if it is too late."""
        with self._changed:
            if self.status in FINAL and not self._waits_to_finalize:
                raise self._wrong("be cancelled")
            if not force and self.view.ready:
                self._ending, self._pivots = True, False
            else:
                self._cancelled = True
            self._held = False
            self._changed.notify_all()

    def complete(self) -> None:
        """Have the machine use the copy from now on. Raises `BimetalError` unless it is ready."""
        with self._changed:
            if not (self.completes and self.view.ready) or self._ending or self._held:
                raise self._wrong("be completed")
            self._ending = self._pivots = True
            self._changed.notify_all()

    def finalize(self) -> None:
        """Have a job that is pending do its last step."""
        with self._changed:
            if not self._waits_to_finalize:
                raise self._wrong("be finalized")
            self._finalized = True
            self._changed.notify_all()

    def pause(self) -> None:
        """Stand still until `resume`."""
        with self._changed:
            if self._held or self.status in FINAL:
                raise self._wrong("be paused")
            self._held = True
            self._changed.notify_all()

    def resume(self) -> None:
        """Go on after `pause`, or after an error."""
        with self._changed:
            if not self._held:
                raise self._wrong("be resumed")
            self._held = False
            self._changed.notify_all()

    def limit(self, speed: int) -> None:
        """Move so many bytes a second at most, or, for 0, as many as it can."""
        with self._changed:
            if speed < 0:
                raise BimetalError(f"a speed of {speed}", "give one from 0 on", ExitCode.USAGE)
            self._speed, self._free_at = speed, 0.0
            self._changed.notify_all()

    def dismiss(self) -> None:
        """Forget a job that is over. Raises `BimetalError` if it is not."""
        with self._changed:
            if self.status is not Status.CONCLUDED:
                raise self._wrong("be dismissed")
        self._become(Status.NULL)

    def wait(self, *statuses: Status, seconds: float | None = None) -> bool:
        """Wait until it has one of the ``statuses``, or is over, and forgotten if it does that by
        itself; False if that took longer."""
        over = [Status.NULL] if self.terms.auto_dismiss else [Status.CONCLUDED, Status.NULL]
        wanted = {*statuses, *over}
        with self._changed:
            return self._changed.wait_for(lambda: self.status in wanted, seconds)

    def ended(self, seconds: float) -> bool:
        """Give it up, and wait for the end of its thread; False if there was not enough time."""
        with self._changed:
            self._cancelled, self._held = True, False
            self._changed.notify_all()
        return self._thread.ended(seconds)

    # What kinds of jobs use

    @property
    def chunk(self) -> int:
        """Bytes to move at once."""
        return min(CHUNK, max(LEAST, self._speed // 4)) if self._speed else CHUNK

    def moved(self, count: int) -> None:
        """So many bytes were dealt with; return when more may be. Raises `Cancelled`."""
        self._done += count
        self.pace(count)

    def pace(self, count: int) -> None:
        """Wait as long as so many bytes have to take. Raises `Cancelled`."""
        with self._changed:
            if self._speed:
                now = monotonic_seconds()
                self._free_at = max(now, self._free_at) + count / self._speed
                while self._free_at > (now := monotonic_seconds()) and not self._cancelled:
                    self._changed.wait(self._free_at - now)
        self.point()

    def point(self) -> None:
        """A moment at which it may be paused or cancelled. Raises `Cancelled`."""
        if not (self._held or self._cancelled):
            return
        before = self.status
        if self._held:
            self._become(Status.STANDBY if before is Status.READY else Status.PAUSED)
            with self._changed:
                self._changed.wait_for(lambda: not self._held or self._cancelled)
            self.stuck = ""
            self._become(before)
        if self._cancelled:
            raise Cancelled

    def failed(self, error: OSError, *, reading: bool) -> None:
        """The host has failed: return if that is to be tried again. Raises ``error`` if not, and
        `Cancelled`."""
        policy = self.terms.on_source_error if reading else self.terms.on_target_error
        if policy in ("enospc", "auto"):
            policy = "stop" if error.errno in FULL else "report"
        if policy == "stop":
            self.stuck, self._held = "nospace" if error.errno in FULL else "failed", True
        self._tell(JobNews(NewsKind.ERROR, self.view, reading, policy))
        if policy == "report":
            raise error
        if policy == "ignore":
            with self._changed:
                self._changed.wait_for(lambda: self._cancelled or self._held, RETRY_SECONDS)
        self.point()

    def end_early(self) -> None:
        """Have `rest` return, and wait no more."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def rest(self, seconds: float | None) -> None:
        """Wait for so long, or until somebody wants something. Raises `Cancelled`."""
        with self._changed:
            self._changed.wait_for(lambda: self._cancelled or self._held or self._ending, seconds)
        self.point()

    def become_ready(self) -> None:
        """It follows the guest from now on."""
        self._become(Status.READY)
        self._tell(JobNews(NewsKind.READY, self.view))

    # The thread

    def _main(self) -> None:
        try:
            self.work()
            self._become(Status.WAITING)
            self._become(Status.PENDING)
            if not self.terms.auto_finalize:
                self._tell(JobNews(NewsKind.PENDING, self.view))
                with self._changed:
                    self._changed.wait_for(lambda: self._finalized or self._cancelled)
                if self._cancelled:
                    raise Cancelled
            self.switch()
        except Cancelled:
            self.error = os.strerror(errno.ECANCELED)
            self._give_up(NewsKind.CANCELLED)
        except (OSError, BimetalError) as error:
            self.error = str(getattr(error, "strerror", None) or error)
            self._give_up(NewsKind.COMPLETED)
        except BaseException as error:
            self.error = f"a defect of Bimetal: {type(error).__name__}: {error}"
            self._give_up(NewsKind.COMPLETED)
            raise
        else:
            self._conclude(NewsKind.COMPLETED)

    def _give_up(self, told: NewsKind) -> None:
        self._become(Status.ABORTING)
        self.undo()
        self._conclude(told)

    def _conclude(self, told: NewsKind) -> None:
        self.on_over()
        self._tell(JobNews(told, self.view))
        self._become(Status.CONCLUDED)
        if self.terms.auto_dismiss:
            self._become(Status.NULL)

    def _become(self, status: Status) -> None:
        with self._changed:
            self.status = status
            self._changed.notify_all()
        self._tell(JobNews(NewsKind.STATUS, self.view))

    def _wrong(self, what: str) -> BimetalError:
        return BimetalError(
            f"the job {self.terms.id!r} is {self.status.value} and cannot {what}",
            "look: query-jobs",
            ExitCode.USAGE,
        )
