"""The memory balloon: virtio 1.2, section 5.5."""

from __future__ import annotations

import struct

import pytest

from bimetal.devices.virtio.balloon import VirtioBalloon
from tests.devices.virtio.guest import (
    BASE,
    CONFIG,
    DEVICE_ID,
    INTERRUPT_STATUS,
    NEEDS_RESET,
    STATUS,
    Guest,
    Ring,
)

PAGE = 4096
STATS, REPORTING = 1 << 1, 1 << 5
FIRST = (BASE + 0x40000) // PAGE


class World:
    """A guest whose memory is all ones above the first 256 KiB."""

    def __init__(self, features: int = STATS | REPORTING):
        self.device = VirtioBalloon()
        self.guest = Guest(self.device)
        self.guest.ram.bytes[0x40000:] = b"\xff" * (self.guest.ram.size - 0x40000)
        queues = 2 + bool(features & STATS) + bool(features & REPORTING)
        self.rings: list[Ring] = self.guest.start(features, queues=queues)

    def zeroed(self) -> list[int]:
        """Which pages are zero now."""
        memory = self.guest.ram.bytes
        count = self.guest.ram.size // PAGE - 0x40
        starts = [0x40000 + n * PAGE for n in range(count)]
        return [n for n, at in enumerate(starts) if not any(memory[at : at + PAGE])]


def test_what_is_wanted_is_told() -> None:
    world = World()
    assert world.guest.read(DEVICE_ID) == 5
    assert world.guest.read(CONFIG) == 0
    world.device.want(7)
    assert world.guest.read(CONFIG) == 7
    assert world.guest.read(INTERRUPT_STATUS) == 2
    world.guest.write(CONFIG + 4, 5)
    assert world.device.pages_given == 5
    world.guest.write(CONFIG, 1)
    assert world.guest.read(CONFIG) == 7, "only the host says what is wanted"


def test_pages_in_the_balloon_go_back() -> None:
    world = World()
    numbers = [FIRST + n for n in (9, 3, 4, 5, 3)]
    world.rings[0].submit(world.guest.place(struct.pack("<5I", *numbers)))
    assert len(world.rings[0].completed()) == 1
    assert world.zeroed() == [3, 4, 5, 9]
    world.rings[1].submit(world.guest.place(struct.pack("<I", FIRST + 9)))
    assert len(world.rings[1].completed()) == 1


@pytest.mark.parametrize("page", [0, (BASE >> 12) - 1, (BASE + (1 << 20)) // PAGE, 0xFFFF_FFFF])
def test_pages_that_are_no_memory_are_left_alone(page: int) -> None:
    world = World()
    world.rings[0].submit(world.guest.place(struct.pack("<2I", page, FIRST)))
    assert world.zeroed() == [0]
    assert not world.guest.read(STATUS) & NEEDS_RESET
    assert any("no memory" in kind for kind in world.device.events.counts)


def test_free_pages_go_back() -> None:
    world = World()
    whole = (FIRST + 2) * PAGE, 2 * PAGE, 2
    parts = (FIRST + 6) * PAGE + 100, 2 * PAGE, 2
    world.rings[3].submit(whole, parts)
    assert len(world.rings[3].completed()) == 1
    assert world.zeroed() == [2, 3, 7], "of what is not whole pages only these"


def test_queues_follow_from_the_features() -> None:
    world = World(REPORTING)
    world.rings[2].submit(((FIRST + 1) * PAGE, PAGE, 2))
    assert world.zeroed() == [1]
    assert not world.device.ask_for_statistics()


def test_statistics_are_asked_for() -> None:
    world, told = World(), list[dict[str, int]]()
    world.device.on_statistics = lambda: told.append(world.device.statistics)
    stats = world.rings[2]
    stats.submit(world.guest.place(struct.pack("<HQHQ", 4, 1 << 30, 5, 1 << 31)))
    assert stats.completed() == [], "the device keeps them until it wants others"
    assert told == [{"free_memory": 1 << 30, "total_memory": 1 << 31}]
    assert world.device.ask_for_statistics()
    assert len(stats.completed()) == 1
    stats.submit(world.guest.place(struct.pack("<HQHQ", 4, 5, 999, 6) + b"\0"))
    assert told[1:] == [{"free_memory": 5}]
    assert world.device.ask_for_statistics()
    assert len(stats.completed()) == 1


def test_statistics_survive_a_snapshot() -> None:
    world = World()
    stats = world.rings[2]
    stats.submit(world.guest.place(struct.pack("<HQ", 4, 77)))
    state = world.guest.slot.save()
    world.guest.slot.load(state)
    assert world.device.statistics == {"free_memory": 77}
    assert world.device.ask_for_statistics()
    assert len(stats.completed()) == 1


def test_a_reset_empties_the_balloon() -> None:
    world = World()
    world.device.want(7)
    world.guest.write(CONFIG + 4, 7)
    world.guest.write(STATUS, 0)
    assert world.device.pages_given == 0
    assert world.guest.read(CONFIG) == 7, "the wish is still there"
