"""Resident memory of an emulator, told apart: the guest's memory, its own, its helpers'."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Resident", "resident"]

PROC = Path("/proc")
MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) ", re.MULTILINE)
SHARE = re.compile(r"^Pss: +([0-9]+) kB", re.MULTILINE)


@dataclass(frozen=True)
class Resident:
    """Bytes of memory that are resident; pages shared with other processes count in proportion.

    ``guest`` is the part of the guest's memory that has been touched, ``own`` the rest of the
    emulator's process, ``helpers`` the processes that it has started.
    """

    guest: int
    own: int
    helpers: int

    @property
    def overhead(self) -> int:
        """All but the guest's memory."""
        return self.own + self.helpers

    @property
    def total(self) -> int:
        return self.guest + self.overhead


def resident(pid: int, memory: int) -> Resident:
    """What a process has in memory that emulates a guest with ``memory`` bytes.

    The guest's memory is told by its size: no other mapping has just that many bytes. Raises
    OSError if the process is not there or is another user's.
    """
    guest = own = 0
    for size, share in mappings((PROC / str(pid) / "smaps").read_text()):
        if size == memory:
            guest += share
        else:
            own += share
    return Resident(guest, own, sum(proportional(child) for child in descendants(pid)))


def mappings(text: str) -> Iterator[tuple[int, int]]:
    """The size and the proportional share of each mapping (Linux, proc_pid_smaps(5)), in bytes."""
    places = [(match.start(), match) for match in MAPPING.finditer(text)]
    ends = [start for start, _ in places[1:]] + [len(text)]
    for (start, match), end in zip(places, ends, strict=True):
        share = SHARE.search(text, start, end)
        yield int(match[2], 16) - int(match[1], 16), int(share[1]) << 10 if share else 0


def proportional(pid: int) -> int:
    """The proportional share of all of a process's mappings, in bytes."""
    share = SHARE.search((PROC / str(pid) / "smaps_rollup").read_text())
    return int(share[1]) << 10 if share else 0


def descendants(pid: int) -> Iterator[int]:
    """The processes that a process has started, and those that these have started."""
    for task in (PROC / str(pid) / "task").iterdir():
        for child in (task / "children").read_text().split():
            yield int(child)
            yield from descendants(int(child))
