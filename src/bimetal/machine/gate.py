"""The gate of a machine's vCPUs: stopping them all, ending the run, fencing one against others.

A vCPU is *active* while it may run guest code or act on a device. It becomes active only through
`VcpuGate.enter`, so whoever holds the lock and sees no active vCPU knows that nothing moves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar, cast

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.events import EventKind, MachineEvent
from bimetal.machine.listeners import Listeners
from bimetal.machine.lock import FairLock
from bimetal.machine.result import Ending, Result

__all__ = ["Member", "VcpuGate"]


class Member(Protocol):
    """A vCPU, as the gate sees it. Everything is guarded by the gate's lock."""

    active: bool
    parked: bool
    """Waits at its gate to be started (a vCPU that firmware has stopped)."""

    errands: list[Callable[[], None]]
    """To be done at the gate, before the vCPU becomes active again."""

    def call(self) -> None:
        """Have the vCPU come to its gate soon."""


AnyMember = TypeVar("AnyMember", bound=Member)


class VcpuGate:
    """The lock of a machine, and the gate of its vCPUs.

    ``lock`` guards devices, back ends, timers and everything here.
    """

    def __init__(self) -> None:
        self.lock = FairLock()
        # A condition asks of its lock no more than this one has, whatever its type says.
        self._changed = threading.Condition(cast(threading.Lock, self.lock))
        self.members: list[Member] = []
        self.started = False
        self.held = False
        self.paused = False
        self.full = False
        """Whether it is paused since the host has no room for what the guest writes."""
        self._amid = 0
        """How many vCPUs are inactive in the middle of an exit, since they wait for others."""
        self.result: Result | None = None
        self.failure: BaseException | None = None
        self.over = threading.Event()
        self.on_over: Listeners[[]] = Listeners()
        self.on_event: Listeners[[MachineEvent]] = Listeners()
        """Called with the lock held, in any thread: listeners neither wait nor fail."""

    @property
    def state(self) -> str:
        """The state of the run, for messages."""
        if self.over.is_set():
            return f"ended, {self.result}" if self.result else "failed"
        if not self.started:
            return "not started"
        return "paused" if self.paused else "running"

    def check_begun(self, why: str) -> None:
        """Raise `BimetalError` before the start; ``why`` says what cannot be done then."""
        if not self.started and not self.over.is_set():
            raise BimetalError(
                f"the machine was not started: {why}", "call start() first", ExitCode.USAGE
            )

    # For vCPUs

    def enter(self, member: Member) -> bool:
        """Pass the gate: do errands, wait while it is shut, then become active.

        False if the run is over. Call with the lock held.
        """
        self.leave(member)
        while not self.over.is_set():
            if self.held or self.paused or (member.parked and not member.errands):
                self._changed.wait()
            elif member.errands:
                member.errands.pop(0)()
            else:
                member.active = True
                return True
        return False

    def leave(self, member: Member) -> None:
        """Become inactive. Call with the lock held."""
        member.active = False
        self._changed.notify_all()

    def fence(
        self, caller: Member, others: Iterable[AnyMember], errand: Callable[[AnyMember], None]
    ) -> None:
        """Have ``errand`` done for each of ``others`` before it runs on, and return once that is
        certain. ``caller`` is an active vCPU. Call with the lock held."""
        waiting = []
        for member in others:
            if member is caller:
                errand(member)
                continue
            ticket = _Ticket(member, errand)
            member.errands.append(ticket)
            if member.active:
                member.call()
                waiting.append(ticket)
        if waiting:
            self._amid += 1
            self.leave(caller)
            self._changed.wait_for(lambda: self._settled(waiting))
            self._amid -= 1
            self._back(caller)

    def _back(self, caller: Member) -> None:
        """Become active again without passing the gate; errands that came meanwhile are done there
        before the vCPU runs again."""
        caller.active = True
        if caller.errands:
            caller.call()

    def _settled(self, tickets: list[_Ticket[AnyMember]]) -> bool:
        return self.over.is_set() or all(
            ticket.done or not ticket.member.active for ticket in tickets
        )

    # For everyone else

    @contextmanager
    def hold(self, caller: Member | None = None) -> Iterator[None]:
        """Stop all vCPUs but ``caller``, which is the one whose thread this is, if any. None is
        stopped in the middle of an exit.

        The lock is held inside. Holds of several threads follow one another.
        """
        with self.lock:
            if caller is not None:
                self.leave(caller)
            self._changed.wait_for(lambda: not self.held)
            self.held = True
            try:
                self._gather(caller)
                yield
            finally:
                self.held = False
                if caller is not None:
                    self._back(caller)
                self._changed.notify_all()

    def pause(self) -> None:
        """Stop all vCPUs until `resume`. Idempotent. Call with the lock held, from no vCPU."""
        news = not self.paused
        self.paused = True
        self._gather(None)
        if news:
            self.on_event(MachineEvent(EventKind.PAUSED))

    def resume(self) -> None:
        """Undo `pause`. Call with the lock held."""
        news = self.paused
        self.paused = False
        self._changed.notify_all()
        if news:
            self.on_event(MachineEvent(EventKind.RESUMED))

    def forked(self) -> None:
        """This process is a copy, in which only this thread is left: the run goes on with new
        threads, and nobody waits for anything."""
        self.lock.renew()
        self._changed = threading.Condition(cast(threading.Lock, self.lock))
        self.over, self.on_over, self.on_event = threading.Event(), Listeners(), Listeners()
        self.held, self._amid = False, 0

    def stir(self) -> None:
        """Let vCPUs that wait at the gate look again. Call with the lock held."""
        self._changed.notify_all()

    def end(self, result: Result) -> None:
        """The run is over; the first result counts. Call with the lock held."""
        if not self.over.is_set():
            self.result = result
            self._finish()

    def fail(self, failure: BaseException) -> None:
        """A thread of the machine died of a defect of Bimetal. Call without the lock."""
        with self.lock:
            if self.failure is None:
                self.failure = failure
            self._finish()

    def _finish(self) -> None:
        self.over.set()
        self._changed.notify_all()
        for member in self.members:
            member.call()
        self.on_over()
        by_host = self.result is None or self.result.ending in (Ending.STOPPED, Ending.FAULT)
        self.on_event(MachineEvent(EventKind.OVER, guest=not by_host))

    def _gather(self, caller: Member | None) -> None:
        others = [member for member in self.members if member is not caller]
        for member in others:
            member.call()
        self._changed.wait_for(
            lambda: not self._amid and not any(member.active for member in others)
        )


class _Ticket(Generic[AnyMember]):
    """An errand that somebody waits for."""

    __slots__ = ("_errand", "done", "member")

    def __init__(self, member: AnyMember, errand: Callable[[AnyMember], None]):
        self.member, self._errand, self.done = member, errand, False

    def __call__(self) -> None:
        self._errand(self.member)
        self.done = True
