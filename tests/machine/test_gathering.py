"""When a machine's memory is gathered in huge pages, and that this ends with the machine."""

import ctypes
import mmap
import threading

from bimetal.base.clock import VirtualClock
from bimetal.machine.gathering import AFTER_NS, Gathering
from bimetal.memory.huge import HUGE


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_it_begins_when_the_machine_has_run_for_a_while() -> None:
    asked = threading.Event()
    clock = VirtualClock()

    def areas() -> list[tuple[int, int]]:
        asked.set()
        return []

    gathering = Gathering(areas, clock)
    clock.advance(AFTER_NS - 1)
    assert not asked.is_set()
    assert "gathering" not in names()
    clock.advance(1)
    assert asked.wait(50)
    assert gathering.end(50)


def test_one_that_is_over_looks_at_nothing() -> None:
    clock = VirtualClock()
    memory = mmap.mmap(-1, 4 * HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    looked = list[int]()

    def areas() -> list[tuple[int, int]]:
        looked.append(1)
        return [(start, len(memory))]

    gathering = Gathering(areas, clock)
    assert gathering.end(50)
    clock.advance(2 * AFTER_NS)
    assert gathering.end(50)
    assert not looked
    memory.close()
