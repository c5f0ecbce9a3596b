"""Resident memory of an emulator, told apart: the guest's memory, its own, its helpers'."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Resident", "resident"]

PROC = Path("/proc")
MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) ", re.MULTILINE)
FIELD = re.compile(r"^(Pss|Private_Dirty|Shared_Dirty): +([0-9]+) kB", re.MULTILINE)


@dataclass(frozen=True)
class Resident:
    """Bytes of memory that are resident; pages shared with other processes count in proportion.

    ``guest`` is the part of the guest's memory that has been touched, ``own`` the rest of the
    emulator's process, ``helpers`` the processes that it has started. ``written`` is the part of
    the latter two that no file holds: it does not depend on who else has mapped the same libraries.
    """

    guest: int
    own: int
    helpers: int
    written: int = 0

    @property
    def total(self) -> int:
        return self.guest + self.own + self.helpers


@dataclass(frozen=True)
class Mapping:
    """Bytes of a mapping: its size, its proportional share, what was written to."""

    size: int
    share: int
    written: int


def resident(pid: int, memory: int) -> Resident:
    """What a process has in memory that emulates a guest with ``memory`` bytes.

    The guest's memory is told by its size: no other mapping has just that many bytes. Raises
    OSError if the process is not there or is another user's.
    """
    mine = list(mappings(pid))
    guest = [each for each in mine if each.size == memory]
    own = [each for each in mine if each.size != memory]
    helpers = [each for child in descendants(pid) for each in of_helper(child)]
    written = sum(each.written for each in own + helpers)
    return Resident(share(guest), share(own), share(helpers), written)


def share(of: Sequence[Mapping]) -> int:
    """The proportional share of mappings, in bytes."""
    return sum(each.share for each in of)


def mappings(pid: int) -> Iterator[Mapping]:
    """The mappings of a process."""
    return parse((PROC / str(pid) / "smaps").read_text())


def of_helper(pid: int) -> Iterator[Mapping]:
    """The same of a helper, which may have ended."""
    with suppress(OSError):
        yield from mappings(pid)


def parse(text: str) -> Iterator[Mapping]:
    """The mappings that a file like ``smaps`` tells of (Linux, proc_pid_smaps(5))."""
    places = [(match.start(), match) for match in MAPPING.finditer(text)]
    ends = [*(start for start, _ in places), len(text)][1:]
    for (start, match), end in zip(places, ends, strict=True):
        fields = {name: int(size) << 10 for name, size in FIELD.findall(text, start, end)}
        dirty = fields.get("Private_Dirty", 0) + fields.get("Shared_Dirty", 0)
        yield Mapping(int(match[2], 16) - int(match[1], 16), fields.get("Pss", 0), dirty)


def descendants(pid: int) -> Iterator[int]:
    """The processes that a process has started, and those that these have started."""
    for task in (PROC / str(pid) / "task").glob("*"):
        with suppress(OSError):  # it has ended
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from descendants(int(child))
