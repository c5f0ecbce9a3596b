"""A guest that reads and writes the devices of riscv-virt at random: nothing may break."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimetal.backends.block.memory import MemoryDisk
from bimetal.backends.chars.ring import Ring
from bimetal.base.clock import VirtualClock
from bimetal.boards.riscv_virt import riscv_virt
from bimetal.devices.flash.cfi import Geometry
from bimetal.devices.flash.pflash import PFlash
from bimetal.machine.bus import Bus
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import Config
from bimetal.machine.console import ConsoleLine
from bimetal.seam import Shutdown

RAM = 0x8000_0000
SMALL_FLASH = 0x3000_0000
SIZES = (1, 2, 4, 8)


@dataclass
class Board:
    """riscv-virt without CPUs, whose lines may be driven any way."""

    clock: VirtualClock = field(default_factory=lambda: VirtualClock(10**18))
    ring: Ring = field(default_factory=Ring)
    heard: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        config = Config(memory=1 << 20, cpus=2, kernel="none")
        line, hvc = ConsoleLine(self.ring), ConsoleLine(Ring())
        self.chassis = Chassis(config, self.clock, line, lambda function: None, hvc)
        riscv_virt(self.chassis)
        flash = PFlash(Geometry(1 << 16, 1 << 13), MemoryDisk(1 << 16))
        self.chassis.add(flash, at=SMALL_FLASH)
        self.chassis.driver = self.drive
        self.chassis.powered = self.power
        self.bus = Bus(self.chassis.space, "bus")

    def drive(self, cpu: int, line: int, level: bool) -> None:
        assert cpu in (0, 1)
        assert line in (3, 7, 9, 11)

    def power(self, shutdown: Shutdown) -> None:
        self.heard.append(shutdown)

    def save(self) -> dict[str, object]:
        return {each.device.name: each.device.save() for each in self.chassis.placements}


names = [each.device.name for each in Board().chassis.placements]
sizes = {each.device.name: each.device.mmio_size for each in Board().chassis.placements}

offsets = st.one_of(
    st.integers(0, 64).map(lambda n: 4 * n),
    st.integers(0, 0xFF),
    st.integers(0, 0x40_0000),
    st.sampled_from([0x1000, 0x2000, 0x2080, 0x4000, 0xBFF8, 0x20_0000, 0x20_0004, 0x20_1004]),
)
values = st.one_of(
    st.integers(0, 0xFF),
    st.sampled_from([0x40, 0xE8, 0xD0, 0xFF, 0x5555, 0x3333, RAM, RAM >> 32, 1 << 10]),
    st.integers(0, 0xFF).map(lambda n: n << 16 | n),
    st.integers(0, 0xFFFF_FFFF),
    st.integers(0, (1 << 64) - 1),
)
accesses = st.tuples(st.sampled_from(names), offsets, st.sampled_from(SIZES), values, st.booleans())
typed = st.binary(min_size=1, max_size=40)
waits = st.integers(0, 10**10)


def play(board: Board, steps: list[object]) -> None:
    for step in steps:
        match step:
            case bytes():
                board.ring.send(step)
            case int():
                board.clock.advance(step)
            case (str(name), int(offset), int(size), int(value), bool(write)):
                placement = next(p for p in board.chassis.placements if p.device.name == name)
                address = placement.at + offset % sizes[name]
                if write:
                    board.bus.write(address, size, value & (1 << 8 * size) - 1)
                else:
                    assert 0 <= board.bus.read(address, size) < 1 << 8 * size


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(accesses, accesses, accesses, typed, waits), max_size=60))
def test_no_access_breaks_a_device(steps: list[object]) -> None:
    board = Board()
    play(board, steps)
    state = board.save()
    board.chassis.reset()
    board.chassis.close()
    other = Board()
    for placement in other.chassis.placements:
        placement.device.load(state[placement.device.name])  # type: ignore[arg-type]
    assert other.save() == state
    play(other, steps)
    other.chassis.close()


@pytest.mark.parametrize("name", sorted({name.split("@")[0] for name in names}))
def test_every_offset_of_every_device_answers(name: str) -> None:
    board = Board()
    placement = next(p for p in board.chassis.placements if p.device.name.startswith(name + "@"))
    size = placement.device.mmio_size
    for start in range(0, size, max(4, size // 0x1000)):
        for width in SIZES:
            value = board.bus.read(placement.at + start, width)
            assert 0 <= value < 1 << 8 * width, hex(start)
            board.bus.write(placement.at + start, width, value)
    board.chassis.close()
