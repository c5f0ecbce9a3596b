"""Memory that is gathered in huge pages is what it was, and takes no more."""

import ctypes
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal.memory import contents
from bimetal.memory.contents import touched
from bimetal.memory.huge import HUGE, gather

PAGE = 4096
PIECES = 4


@pytest.fixture
def area() -> Iterator[tuple[mmap.mmap, int]]:
    """Zeroed memory, and the first address in it at which a huge page can lie."""
    memory = mmap.mmap(-1, (PIECES + 1) * HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    yield memory, -(-start // HUGE) * HUGE - start
    memory.close()


def address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def held(memory: mmap.mmap) -> int:
    """Bytes that the host has given, in steps of 64 KiB."""
    return sum(high - low for low, high in touched(address(memory), len(memory)))


def in_huge_pages(memory: mmap.mmap) -> int:
    """KiB, as the host counts them (proc(5), smaps)."""
    whole = Path("/proc/self/smaps").read_text()
    start, end = address(memory), address(memory) + len(memory)
    for entry in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", whole)[1:]:
        low, high = (int(each, 16) for each in entry.split(" ")[0].split("-"))
        if low <= start and end <= high:
            found = re.search(r"AnonHugePages: +([0-9]+) kB", entry)
            return int(found[1]) if found else 0
    return 0


def test_what_is_mostly_there_is_gathered_and_stays_what_it_is(
    area: tuple[mmap.mmap, int],
) -> None:
    memory, first = area
    for page in range(first // PAGE, (first + 2 * HUGE) // PAGE):
        if page % 4:
            memory[page * PAGE : page * PAGE + 8] = page.to_bytes(8, "little")
    before = memory[first : first + 2 * HUGE]  # to read the rest would be to have it
    steps = len(list(gather(address(memory), len(memory))))
    assert steps == 2
    assert memory[first : first + 2 * HUGE] == before


def test_what_is_hardly_there_is_left_alone(area: tuple[mmap.mmap, int]) -> None:
    memory, first = area
    for piece in range(PIECES):
        memory[first + piece * HUGE] = 1
    before = held(memory)
    assert list(gather(address(memory), len(memory))) == []
    assert held(memory) == before


def test_where_the_host_does_not_tell_what_is_there_nothing_comes(
    area: tuple[mmap.mmap, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, first = area
    memory[first] = 1
    before = held(memory)
    with monkeypatch.context() as hidden:
        hidden.setattr(contents, "PAGE_MAP", "/proc/self/nothing")
        assert list(gather(address(memory), len(memory))) == []
    assert held(memory) == before


def test_where_the_host_has_huge_pages_they_are_used(area: tuple[mmap.mmap, int]) -> None:
    memory, first = area
    memory.madvise(mmap.MADV_HUGEPAGE)
    memory[first : first + HUGE] = b"x" * HUGE
    if not in_huge_pages(memory):
        pytest.skip("this host gives no huge pages")
    memory.madvise(mmap.MADV_DONTNEED)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    memory[first : first + HUGE] = b"y" * HUGE
    memory.madvise(mmap.MADV_HUGEPAGE)
    assert in_huge_pages(memory) == 0
    list(gather(address(memory), len(memory)))
    assert in_huge_pages(memory) == HUGE >> 10
    assert memory[first : first + HUGE] == b"y" * HUGE
