"""Jobs given to the translator that it has not answered yet.

The translator's process may be lost: it crashes in LLVM, runs out of memory, or is killed. It is
then replaced and given the unanswered jobs again; the one at which it was lost gets only one more
try.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..base.late import LateModule
from ..base.log import logger
from ..codegen.job import Compiled
from ..isa.describe import Isa
from .order import Order
from .permits import Permits

if TYPE_CHECKING:
    from ..codegen import worker
else:
    worker = LateModule("bimetal.codegen.worker")

__all__ = ["Orders"]

_log = logger("translator")

REPLACEMENTS = 3
ANSWERS = 200
"""After so many answers one more replacement is allowed: a machine may run for months."""


class Orders:
    """The queue of orders under way, oldest first, and the process that does them."""

    def __init__(self, isa: Isa, shared: bool):
        self._isa, self._shared = isa, shared
        self._orders: list[Order] = []
        self._answered = self._lost = 0
        self._worker: worker.Worker | None = None
        self._ended = False
        self.copied = False
        """Whether this process is a copy."""
        self._permits = Permits()

    def __len__(self) -> int:
        return len(self._orders)

    def __iter__(self) -> Iterator[Order]:
        return iter(self._orders)

    def may_start(self, pays: bool) -> bool:
        """Whether there is a process, or one may be started because it ``pays``: in copies of a
        process only so many at a time have one, and all others go on without until one of these is
        idle."""
        return self._worker is not None or (pays and (not self.copied or self._permits.take()))

    def expect(self) -> None:
        """Start the process, for jobs that are sure to come soon."""
        if self._worker is None and not self._ended:
            self._worker = self._start()

    def submit(self, order: Order) -> None:
        """Hand a job to the process, which is started with the first one, if there is one."""
        self.expect()
        if self._worker is None:
            return
        self._orders.append(order)
        if not self._worker.submit(order.job):
            self._replace("it takes no more jobs")

    def collect(self, seconds: float | None) -> Iterator[tuple[Order, Compiled]]:
        """Orders with their answers: those finished now or within ``seconds`` (None: all)."""
        while self._worker is not None and self._orders:
            try:
                answer = self._worker.answer(seconds)
            except worker.OtherEngine as change:
                self._go_without(f"{change}: what is hot is not translated any more")
                return
            except worker.WorkerLost as loss:
                self._replace(str(loss))
                continue
            if answer is None:
                return
            self._answered += 1
            yield self._orders.pop(0), answer

    def rest(self) -> None:
        """End the process if it has nothing to do; another one is started with the next job."""
        if self._worker is not None and not self._orders:
            self._worker.close()
            self._worker = None
        self.give_way()

    def give_way(self) -> None:
        """Let another copy have a process, unless this one has it."""
        if self.copied and self._worker is None:
            self._permits.give_back()

    def close(self) -> None:
        """End the process, and start none any more; the orders stay. Idempotent."""
        self._end()
        self._permits.close()

    def _end(self) -> None:
        self._ended = True
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def forked(self) -> None:
        """This process is a copy of the worker's parent: let go of the worker's pipes, and of what
        was asked for."""
        for order in self._orders:
            order.withdrawn()
        self.copied, self._orders = True, []
        if self._worker is not None:
            self._worker.let_go()
            self._worker = None

    def _start(self) -> worker.Worker | None:
        try:
            return worker.Worker(self._isa, self._shared)
        except OSError as error:
            self._ended = True
            _log.warning("nothing is translated, only interpreted: %s", error)
            return None

    def _go_without(self, reason: str) -> None:
        """End the process, and start none any more: who waits for answers gets none."""
        _log.warning(reason)
        self._end()
        self._orders = []

    def _replace(self, reason: str) -> None:
        """Start a new process, or continue without one."""
        self._end()
        self._ended = False
        self._lost += 1
        if self._lost > REPLACEMENTS + self._answered // ANSWERS:
            self._go_without(f"the translator was lost {self._lost} times and is not replaced")
            return
        if self._lost == 1:
            _log.warning("the translator was lost and is replaced: %s", reason)
        self._worker = self._start()
        left, self._orders = self._orders, []
        if left and left[0].again:
            left.pop(0)
        elif left:
            left[0] = replace(left[0], again=True)
        for order in left:
            self.submit(order)
