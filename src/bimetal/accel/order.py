"""An order: a job for the translator, and the page that it is for."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import Struct

from ..base.late import LateModule
from ..codegen.job import Job
from ..codegen.layout import PAGE
from ..codegen.policy import Policy
from .code_page import CodePage
from .hotness import HotRegion

if TYPE_CHECKING:
    import random
else:
    random = LateModule("random")

__all__ = ["Order", "OrderMaker"]


class Order(Struct, frozen=True):
    """A job under way and the page that it is for; ``again`` says that a process was lost at it."""

    code_page: CodePage
    job: Job
    again: bool = False

    def withdrawn(self) -> Order:
        """The same order, after its page has forgotten that it was asked for these places."""
        self.code_page.asked.difference_update(self._places)
        return self

    def leave(self) -> bool:
        """Withdraw it, to be resumed when the machine has ended; whether any of it was not left so
        before, as code that comes and goes is."""
        left = self.withdrawn().code_page.left
        new = not left.issuperset(self._places)
        left.update(self._places)
        return new

    def resume(self) -> bool:
        """Ask for it again; whether any of it is neither translated nor asked for otherwise."""
        wanted = not all(self.code_page.is_there(*place) for place in self._places)
        self.code_page.asked.update(self._places)
        return wanted

    @property
    def _places(self) -> list[tuple[int, bool]]:
        job = self.job
        return [(at, False) for at in job.entries] + [(at, True) for at in job.jumps]


class OrderMaker:
    """Makes orders under a policy, for code whose instructions begin at multiples of a granule."""

    def __init__(self, policy: Policy, granule: int):
        self._policy, self._granule = policy, granule
        self._chance = random.Random(policy.pieces) if policy.pieces else None

    def for_places(
        self, code_page: CodePage, decoded: bytes, places: Iterable[tuple[int, bool]]
    ) -> Order | None:
        """An order for places of a page, given as in `CodePage.asked`; None if nothing would be
        gained. ``decoded`` has a byte for each granule, 1 if a vCPU has decoded it."""
        wanted = [place for place in places if not code_page.is_there(*place)]
        code_page.asked.update(wanted)
        if not wanted:
            return None
        entries, jumps = (tuple(o for o, jump in wanted if jump is kind) for kind in (False, True))
        return self.make(code_page, decoded, entries, self._policy.level, jumps)

    def improved(
        self, code_page: CodePage, decoded: bytes, hot: HotRegion, misaligned: tuple[int, ...]
    ) -> Order:
        """An order for a hot region, optimised; for the rest see `Job`."""
        entries, seldom = hot.entered, hot.seldom
        return self.make(code_page, decoded, entries, 2, seldom=seldom, misaligned=misaligned)

    def make(
        self, code_page: CodePage, decoded: bytes, entries: tuple[int, ...], level: int,
        jumps: tuple[int, ...] = (), seldom: tuple[int, ...] = (),
        misaligned: tuple[int, ...] = (),
    ) -> Order:  # fmt: skip
        """An order for a region of some level, with these entries and what is before ``jumps``."""
        policy, executed = self._policy, code_page.executed(decoded, self._granule)
        if policy.unexecuted:
            executed = b"\1" * len(executed)
            misaligned = tuple(range(0, PAGE, self._granule))
        if self._chance is not None:
            entries, policy = policy.cut(self._chance, entries, executed, self._granule)
        # Objects from many runs are loaded into one process, so each symbol is unique.
        symbol = f"region_{uuid.uuid4().hex}"
        there = tuple(code_page.entries)
        job = Job(
            code_page.code, entries, executed, level, symbol, policy, jumps, there,
            code_page.decoding, seldom, misaligned,
        )  # fmt: skip
        return Order(code_page, job)
