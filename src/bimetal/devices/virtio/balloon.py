"""The memory balloon (virtio 1.2, section 5.5): memory that the guest gives back to the host.

The guest gives back what it is asked for (inflates the balloon), and, where the driver can, what it
has free anyway (free page reporting). Hints during migration and poisoned pages are not offered;
whoever needs the latter does not report free pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from struct import Struct
from typing import ClassVar

from bimetal.devices.turns import Turns
from bimetal.devices.virtio.device import VirtioDevice, Work
from bimetal.devices.virtio.queue import Chain
from bimetal.memory.space import AddressSpace, BadAddress

__all__ = ["PAGE", "STATISTICS", "VirtioBalloon"]

PAGE = 4096
"""Bytes of a page of the balloon, whatever pages the guest has."""

STATS_VQ, DEFLATE_ON_OOM, PAGE_REPORTING = 1 << 1, 1 << 2, 1 << 5
"""Features (5.5.3). A guest that runs out of memory takes some of the balloon's."""

_CONFIG = Struct("<IIII")
"""Pages wanted, pages given; command and value for what is not offered (5.5.4)."""

ACTUAL_AT = 4

_NUMBER = Struct("<I")
_STATISTIC = Struct("<HQ")

AT_ONCE = 1 << 16
"""Bytes of page numbers, or of statistics, that are read from a request; drivers send 1024."""

GIVING_COST = 512
"""What a page that goes back to the host counts for in a turn."""

STATISTICS = (
    "swap_in", "swap_out", "major_faults", "minor_faults", "free_memory", "total_memory",
    "available_memory", "disk_caches", "hugetlb_allocations", "hugetlb_failures", "oom_kill",
    "alloc_stall", "async_scan", "direct_scan", "async_reclaim", "direct_reclaim",
)  # fmt: skip
"""Names of statistics by their tag (5.5.6.4, and those that Linux has added); memory is in
bytes."""


class Role(Enum):
    """What a queue is for. Which number it has depends on the features that the driver accepted."""

    INFLATE = 0
    DEFLATE = 1
    STATISTICS = 2
    REPORTS = 3


class VirtioBalloon(VirtioDevice):
    """The balloon of the memory that `plug` gives. ``statistics`` are those of last time, by the
    names in `STATISTICS`; ``on_statistics`` is called when there are new ones, ``on_given`` when
    the driver says how many pages it has given."""

    device_id = 5
    queue_limits = (128, 128, 16, 128)
    offered = STATS_VQ | DEFLATE_ON_OOM | PAGE_REPORTING
    saved: ClassVar[tuple[str, ...]] = ("statistics",)
    fixed = ("_space", "on_statistics", "on_given")
    derived = ("_roles", "_held", "_asked")

    def __init__(self) -> None:
        super().__init__()
        self.config[:] = _CONFIG.pack(0, 0, 0, 0)
        self.statistics: dict[str, int] = {}
        self.on_statistics: Callable[[], None] | None = None
        self.on_given: Callable[[], None] | None = None
        self._space: AddressSpace | None = None
        self._roles: list[Role] = []
        self._held: Chain | None = None
        """The driver's last statistics: to get new ones, it gets them back (5.5.6.3)."""
        self._asked = False

    def plug(
        self,
        transport: object,
        space: AddressSpace,
        defer: Turns | None = None,
    ) -> None:
        super().plug(transport, space, defer)  # type: ignore[arg-type]
        self._space = space

    # For the machine

    @property
    def pages_given(self) -> int:
        """How many pages are in the balloon."""
        return _NUMBER.unpack_from(self.config, ACTUAL_AT)[0]  # type: ignore[no-any-return]

    def want(self, pages: int) -> None:
        """Ask the driver for a balloon of that many pages."""
        _NUMBER.pack_into(self.config, 0, pages)
        self.config_changed()

    def ask_for_statistics(self) -> bool:
        """Ask the driver for statistics; False if there is none, or it has none."""
        if not self.running or Role.STATISTICS not in self._roles:
            return False
        self._asked = True
        self.look(self._roles.index(Role.STATISTICS))
        return True

    # The device

    def settled(self) -> None:
        self._roles = [Role.INFLATE, Role.DEFLATE]
        self._roles += [Role.STATISTICS] if self.has(STATS_VQ) else []
        self._roles += [Role.REPORTS] if self.has(PAGE_REPORTING) else []

    def restored(self) -> None:
        self.settled()
        self._held, self._asked = None, False
        super().restored()

    def config_written(self, offset: int, data: bytes) -> None:
        if offset == ACTUAL_AT and len(data) == _NUMBER.size:
            self.config[offset : offset + len(data)] = data
            if self.on_given is not None:
                self.on_given()
        else:
            super().config_written(offset, data)

    def reset(self) -> None:
        super().reset()
        _NUMBER.pack_into(self.config, ACTUAL_AT, 0)
        self.statistics.clear()
        self._roles.clear()
        self._held, self._asked = None, False

    def disable_queue(self, index: int) -> None:
        super().disable_queue(index)
        self._held = None

    def has_use_for(self, index: int) -> bool:
        return self._role(index) is not Role.STATISTICS or self._held is None or self._asked

    def carry_on(self, index: int) -> bool:
        if self._role(index) is not Role.STATISTICS:
            return super().carry_on(index)
        if self._held is None:
            self._held = self.queues[index].pop()
            if self._held is not None:
                self._take_statistics(self._held)
        if self._held is not None and self._asked:
            self._asked = False
            self.finish(index, [(self._held, 0)])
            self._held = None
        return False

    def work_on(self, index: int, chain: Chain) -> Work:
        assert self._space is not None
        role = self._role(index)
        if role is Role.INFLATE:
            for view in self._inflated(b"".join(chain.readable)[:AT_ONCE]):
                self._space.give_back(view)
                yield len(view) // PAGE * GIVING_COST
        elif role is Role.REPORTS:
            for view in chain.writable:
                self._space.give_back(view)
                yield len(view) // PAGE * GIVING_COST
        else:
            yield 0
        return 0

    def _role(self, index: int) -> Role | None:
        return self._roles[index] if index < len(self._roles) else None

    def _inflated(self, numbers: bytes) -> Iterator[memoryview]:
        """The memory of the pages of these numbers, neighbours together."""
        pages = sorted({page for (page,) in _NUMBER.iter_unpack(numbers[: len(numbers) & -4])})
        start = 0
        for end in range(1, len(pages) + 1):
            if end == len(pages) or pages[end] != pages[end - 1] + 1:
                yield from self._memory(pages[start], end - start)
                start = end

    def _memory(self, page: int, count: int) -> Iterator[memoryview]:
        assert self._space is not None
        try:
            yield self._space.view(page * PAGE, count * PAGE, writable=True)
        except BadAddress as error:
            self.events.guest_error("a page of the balloon is no memory", str(error))

    def _take_statistics(self, chain: Chain) -> None:
        data = b"".join(bytes(each[:AT_ONCE]) for each in chain.readable)[:AT_ONCE]
        whole = data[: len(data) - len(data) % _STATISTIC.size]
        self.statistics = {
            STATISTICS[tag]: value
            for tag, value in _STATISTIC.iter_unpack(whole)
            if tag < len(STATISTICS)
        }
        if self.on_statistics is not None:
            self.on_statistics()
