"""The move of a machine to another process, or from one, as clients see it (QEMU's
qapi/migration.json)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct, field

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.threads import EndingThread, Lock
from bimetal.control.events import Event, MigrationData, PassData
from bimetal.machine.progress import Moving, Pace

if TYPE_CHECKING:
    from bimetal.backends.passage import Coming, Passage
    from bimetal.machine.machine import Machine

__all__ = ["ACTIVE", "COMPLETED", "Migration"]

SETUP, ACTIVE, COMPLETED, FAILED = "setup", "active", "completed", "failed"
CANCELLING, CANCELLED = "cancelling", "cancelled"

BANDWIDTH = 128 << 20
"""Bytes a second of a move for which nothing else is said."""


class Migration(Struct):
    """One move at a time: its ``status`` in QMP's words, "" before the first, figures of it, why it
    has failed, and how fast it may be. ``tell`` is called with each event."""

    tell: Callable[[Event], None] = lambda event: None
    status: str = ""
    why: str = ""
    moving: Moving = field(default_factory=Moving)
    pace: Pace = field(default_factory=lambda: Pace(BANDWIDTH))
    must_answer: bool = False
    """Whether it has to go by a way by which the other side answers."""
    _way: Passage | None = None
    _lock: Lock = field(default_factory=Lock)
    """Held while the status changes: each change follows from the one before."""

    @property
    def under_way(self) -> bool:
        """Whether a machine moves."""
        return self.status in (SETUP, ACTIVE, CANCELLING)

    def leave(self, machine: Machine, way: Passage) -> None:
        """Have a machine go by ``way``, which is closed; events tell how it goes. Raises
        `BimetalError` if one moves already."""
        leave = machine.leave  # what it takes is imported before anybody hears that it moves

        def work() -> None:
            with way:
                leave(way, self.pace, self.moving)

        try:
            self._begin(work, way)
        except BaseException:
            way.close()
            raise

    def arrive(
        self,
        machine: Machine,
        await_way: Coming,
        there: Callable[[], None],
        failed: Callable[[BimetalError], None],
    ) -> None:
        """Have a machine come by what ``await_way`` returns, and ``there`` called when it is; or
        ``failed``, if it does not come. Raises `BimetalError` if one moves already."""

        def work() -> None:
            try:
                with await_way() as way:
                    machine.arrive(way, self.moving)
                    there()  # it does not wait for the end of the program that it has come from
            except BaseException as error:
                failed(_as_failure(error))
                raise

        try:
            self._begin(work, None)
        except BaseException:
            await_way.close()
            raise

    def cancel(self) -> None:
        """Give up a move to elsewhere. Nothing happens if there is none."""
        with self._lock:
            way = self._way
            if way is None or self.status not in (SETUP, ACTIVE):
                return
            self._become(CANCELLING)
        way.give_up()

    def _begin(self, work: Callable[[], None], way: Passage | None) -> None:
        with self._lock:
            if self.under_way:
                raise BimetalError(
                    "the machine moves already",
                    "migrate_cancel, or wait for the end",
                    ExitCode.UNAVAILABLE,
                )
            self.moving = Moving(on_pass=self._tell_pass)
            self.why, self._way = "", way
            self._become(SETUP)
        try:
            EndingThread(lambda: self._act(work), "migration").start()
        except RuntimeError as error:
            failure = BimetalError(
                f"the host makes no more threads: {error}", "end others", ExitCode.UNAVAILABLE
            )
            self._end(failure)
            raise failure from error

    def _act(self, work: Callable[[], None]) -> None:
        with self._lock:
            if self.status == SETUP:
                self._become(ACTIVE)
        try:
            work()
        except BaseException as error:
            self._end(_as_failure(error))
            if not isinstance(error, BimetalError | OSError):
                raise
        else:
            self._end(None)

    def _end(self, failure: BimetalError | None) -> None:
        with self._lock:
            self._way = None
            if failure is None:  # what came too late to cancel it has changed nothing
                self._become(COMPLETED)
            elif self.status == CANCELLING:
                self._become(CANCELLED)
            else:
                self.why = str(failure)
                self._become(FAILED)

    def _become(self, status: str) -> None:
        self.status = status
        self.tell(Event("MIGRATION", MigrationData(status=status)))

    def _tell_pass(self, number: int) -> None:
        self.tell(Event("MIGRATION_PASS", PassData(number=number)))


def _as_failure(error: BaseException) -> BimetalError:
    """Why a move has failed, for those who are told of it."""
    if isinstance(error, BimetalError):
        return error
    if isinstance(error, OSError):
        return BimetalError(error.strerror or str(error), "", ExitCode.IO_ERROR)
    what = f"a defect of Bimetal: {type(error).__name__}: {error}"
    return BimetalError(what, "", ExitCode.INTERNAL)
