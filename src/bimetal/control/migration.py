"""The move of a machine to another process, or from one, as clients see it (QEMU's
qapi/migration.json)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bimetal.base.errors import BimetalError
from bimetal.base.threads import EndingThread
from bimetal.control.events import Event, MigrationData, PassData
from bimetal.machine.progress import Moving, Pace

if TYPE_CHECKING:
    from bimetal.backends.passage import Passage
    from bimetal.machine.machine import Machine

__all__ = ["ACTIVE", "COMPLETED", "Migration"]

SETUP, ACTIVE, COMPLETED, FAILED = "setup", "active", "completed", "failed"
CANCELLING, CANCELLED = "cancelling", "cancelled"

BANDWIDTH = 128 << 20
"""Bytes a second of a move for which nothing else is said."""


@dataclass
class Migration:
    """One move at a time: its ``status`` in QMP's words, "" before the first, figures of it, why it
    has failed, and how fast it may be. ``tell`` is called with each event."""

    tell: Callable[[Event], None]
    status: str = ""
    why: str = ""
    moving: Moving = field(default_factory=Moving)
    pace: Pace = field(default_factory=lambda: Pace(BANDWIDTH))
    must_answer: bool = False
    """Whether it has to go by a way by which the other side answers."""
    _way: Passage | None = None

    @property
    def under_way(self) -> bool:
        """Whether a machine moves."""
        return self.status in (SETUP, ACTIVE, CANCELLING)

    def leave(self, machine: Machine, way: Passage) -> None:
        """Have a machine go by ``way``, which is closed; events tell how it goes."""

        def work() -> None:
            with way:
                machine.leave(way, self.pace, self.moving)

        self._begin(work, way)

    def arrive(
        self,
        machine: Machine,
        await_way: Callable[[], Passage],
        there: Callable[[], None],
        failed: Callable[[BimetalError], None],
    ) -> None:
        """Have a machine come by what ``await_way`` returns, and ``there`` called when it is; or
        ``failed``, if it does not come."""

        def work() -> None:
            try:
                with await_way() as way:
                    machine.arrive(way, self.moving)
                there()
            except BimetalError as error:
                failed(error)
                raise

        self._begin(work, None)

    def cancel(self) -> None:
        """Give up a move to elsewhere. Nothing happens if there is none."""
        way = self._way
        if self.under_way and way is not None:
            self._become(CANCELLING)
            way.give_up()

    def _begin(self, work: Callable[[], None], way: Passage | None) -> None:
        self.moving = Moving(
            on_pass=lambda number: self.tell(Event("MIGRATION_PASS", PassData(number)))
        )
        self.why, self._way = "", way
        self._become(SETUP)

        def act() -> None:
            self._become(ACTIVE)
            try:
                work()
                self._become(COMPLETED)
            except (BimetalError, OSError) as error:
                if self.status == CANCELLING:
                    self._become(CANCELLED)
                else:
                    self.why = str(error)
                    self._become(FAILED)
            except BaseException as error:
                self.why = f"a defect of Bimetal: {type(error).__name__}: {error}"
                self._become(FAILED)
                raise
            finally:
                self._way = None

        EndingThread(act, "migration").start()

    def _become(self, status: str) -> None:
        self.status = status
        self.tell(Event("MIGRATION", MigrationData(status=status)))

    def _tell_pass(self, number: int) -> None:
        self.tell(Event("MIGRATION_PASS", PassData(number=number)))
