"""Locality-specific interrupts of one CPU (IHI 0069H, 5.1): messages by number, whose configuration
and pending state lie in tables in the guest's memory.

The configuration of a pending LPI is read when it becomes pending, and again when software says
that it is another. What is pending is known here, and written to memory too.
"""

from __future__ import annotations

from collections.abc import Callable

from bimetal.base.errors import GuestError
from bimetal.base.state import Stateful
from bimetal.memory.space import AddressSpace

__all__ = ["FIRST_LPI", "Lpis"]

FIRST_LPI = 8192
ENABLED = 1  # of a byte of configuration
PRIORITY = 0xFC


class Lpis(Stateful):
    """LPIs whose tables ``memory`` holds; ``error`` is told what is wrong with these."""

    saved = ("limit", "configuration_at", "pending_at", "pending", "_best", "_looked")
    fixed = ("_memory", "_error")

    def __init__(self, memory: AddressSpace, error: Callable[[str], None]):
        self._memory, self._error = memory, error
        self.limit = self.configuration_at = self.pending_at = 0
        self.pending: dict[int, int] = {}
        """The pending LPIs by number, each with its configuration byte."""
        self._best: tuple[int, int] | None = None
        self._looked = True

    def disable(self) -> None:
        """There are none. What is pending stays so in memory."""
        self.limit = 0
        self._forget()

    def enable(self, configuration_at: int, pending_at: int, limit: int, *, empty: bool) -> None:
        """There are those below ``limit``, with these tables; none is pending if the table is
        ``empty``."""
        self.configuration_at, self.pending_at, self.limit = configuration_at, pending_at, limit
        self._forget()
        if empty or limit <= FIRST_LPI:
            return
        try:
            table = self._memory.read(pending_at, limit // 8)
        except GuestError as error:
            self._error(f"no table of pending LPIs: {error}")
            return
        for number in range(FIRST_LPI, limit):
            if table[number // 8] >> number % 8 & 1:
                self.pending[number] = self._configuration(number)

    @property
    def best(self) -> tuple[int, int] | None:
        """Priority and number of the most urgent that is pending and enabled."""
        if not self._looked:
            waiting = (
                (configuration & PRIORITY, number)
                for number, configuration in self.pending.items()
                if configuration & ENABLED
            )
            self._best, self._looked = min(waiting, default=None), True
        return self._best

    def pend(self, number: int) -> None:
        """Make LPI ``number`` pending. Raises `GuestError` if there is no such LPI."""
        self._check(number)
        if number not in self.pending:
            self.pending[number] = self._configuration(number)
            self._note(number)

    def clear(self, number: int) -> bool:
        """``number`` is not pending any more; whether it was. Raises `GuestError`."""
        self._check(number)
        if self.pending.pop(number, None) is None:
            return False
        self._note(number)
        return True

    def renew(self, number: int | None = None) -> None:
        """The configuration of ``number``, or of all, may be another."""
        for each in self.pending if number is None else {number} & self.pending.keys():
            self.pending[each] = self._configuration(each)
        self._looked = False

    def _forget(self) -> None:
        self.pending = {}
        self._looked = False

    def _check(self, number: int) -> None:
        if not FIRST_LPI <= number < self.limit:
            raise GuestError(f"LPI {number} where LPIs are below {self.limit}")

    def _configuration(self, number: int) -> int:
        try:
            return self._memory.read(self.configuration_at + number - FIRST_LPI, 1)[0]
        except GuestError as error:
            self._error(f"no configuration of an LPI: {error}")
            return 0

    def _note(self, number: int) -> None:
        """Write to memory whether ``number`` is pending."""
        self._looked = False
        try:
            with self._memory.view(self.pending_at + number // 8, 1, writable=True) as byte:
                bit = 1 << number % 8
                byte[0] = byte[0] | bit if number in self.pending else byte[0] & ~bit
        except GuestError as error:
            self._error(f"no table of pending LPIs: {error}")
