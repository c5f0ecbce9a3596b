"""Guests that read and write the devices of boards at random: nothing may break."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimetal.backends.block.memory import MemoryDisk
from bimetal.backends.chars.ring import Ring
from bimetal.base.clock import VirtualClock
from bimetal.boards.arm_virt import arm_virt
from bimetal.boards.riscv_virt import riscv_virt
from bimetal.devices.device import Device
from bimetal.devices.flash.cfi import Geometry
from bimetal.devices.flash.pflash import PFlash
from bimetal.machine.bus import Bus
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import Config
from bimetal.machine.console import ConsoleLine
from bimetal.machine.hardware import CpuSignal
from bimetal.machine.placements import Placement
from tests.turns import Deferred

SMALL_FLASH = 0x2C00_0000
SIZES = (1, 2, 4, 8)
CPUS = 2


class Board:
    """A board without CPUs, whose lines may be driven any way."""

    def __init__(self, name: str):
        name, *options = name.split(",")
        build, self.lines, self.ram = PLAYED[name]
        self.clock, self.ring = VirtualClock(10**18), Ring()
        self.heard: list[object] = []
        config = Config(
            memory=1 << 20,
            cpus=CPUS,
            kernel="none",
            options=dict(each.split("=") for each in options),
        )
        line, hvc = ConsoleLine(self.ring), ConsoleLine(Ring())
        chassis = Chassis(config, self.clock, line, Deferred(), hvc)
        build(chassis)
        flash = PFlash(Geometry(1 << 16, 1 << 13), MemoryDisk(1 << 16))
        chassis.add(flash, at=SMALL_FLASH)
        self.hardware = chassis.finish()
        self.hardware.outlets.cpus.connect(self.drive)
        self.hardware.outlets.power.connect(self.heard.append)
        self.bus = Bus(self.hardware.space, "bus")

    def drive(self, signal: CpuSignal) -> None:
        assert 0 <= signal.cpu < CPUS
        assert signal.line in self.lines

    def kinds(self) -> dict[str, list[Placement]]:
        """The devices by kind, so that each kind is played with as often."""
        found: dict[str, list[Placement]] = {}
        for each in self.hardware.placements:
            found.setdefault(each.device.kind, []).append(each)
        return found

    def save(self) -> dict[str, object]:
        return {each.device.name: each.device.save() for each in self.hardware.placements}


PLAYED: dict[str, tuple[Callable[[Chassis], None], tuple[int, ...], int]] = {
    "riscv-virt": (riscv_virt, (3, 7, 9, 11), 0x8000_0000),
    "arm-virt": (arm_virt, (0, 1), 0x4000_0000),
}
AIA = ("riscv-virt,aia=aplic", "riscv-virt,aia=aplic-imsic")
BOARDS = (*PLAYED, *AIA, "arm-virt,gic=3")


offsets = st.one_of(
    st.integers(0, 64).map(lambda n: 4 * n),
    st.integers(0, 0xFF),
    st.integers(0, 0x40_0000),
    st.sampled_from([0x1000, 0x2000, 0x2080, 0x4000, 0xBFF8, 0x20_0000, 0x20_0004, 0x20_1004]),
    st.sampled_from([0x100, 0x104, 0x200, 0x204, 0x300, 0x821, 0xF00, 0xF24, 0x40C, 0x410]),
)
values = st.one_of(
    st.integers(0, 0xFF),
    st.sampled_from([0x40, 0xE8, 0xD0, 0xFF, 0x5555, 0x3333, 1 << 31, 0x40, 1 << 10]),
    st.sampled_from([each[2] for each in PLAYED.values()]),
    st.integers(0, 0xFF).map(lambda n: n << 16 | n),
    st.integers(0, 0xFFFF_FFFF),
    st.integers(0, (1 << 64) - 1),
)
numbers = st.integers(0, 1 << 16)
accesses = st.tuples(numbers, offsets, st.sampled_from(SIZES), values, st.booleans())
typed = st.binary(min_size=1, max_size=40)
waits = st.integers(0, 10**10)


def play(board: Board, steps: list[object]) -> None:
    kinds = list(board.kinds().values())
    for step in steps:
        match step:
            case bytes():
                board.ring.send(step)
            case int():
                board.clock.advance(step)
            case (int(number), int(offset), int(size), int(value), bool(write)):
                board.hardware.initiator.cpu = number % CPUS
                kind = kinds[number // CPUS % len(kinds)]
                placement = kind[number // CPUS // len(kinds) % len(kind)]
                offset %= placement.device.mmio_size
                if placement.registers:
                    play_register(placement.device, offset & -8, value if write else None)
                    continue
                address = placement.at + offset
                if write:
                    board.bus.write(address, size, value & (1 << 8 * size) - 1)
                else:
                    assert 0 <= board.bus.read(address, size) < 1 << 8 * size


def play_register(device: Device, offset: int, value: int | None) -> None:
    """Read, or write, a register that a CPU reaches by its number."""
    if value is None:
        assert 0 <= device.read(offset, 8) < 1 << 64
    else:
        device.write(offset, 8, value & (1 << 64) - 1)


@pytest.mark.parametrize("name", BOARDS)
@settings(max_examples=60)
@given(steps=st.lists(st.one_of(accesses, accesses, accesses, typed, waits), max_size=60))
def test_no_access_breaks_a_device(name: str, steps: list[object]) -> None:
    board = Board(name)
    play(board, steps)
    state = board.save()
    board.hardware.reset()
    board.hardware.close()
    other = Board(name)
    for placement in other.hardware.placements:
        placement.device.load(state[placement.device.name])  # type: ignore[arg-type]
    assert other.save() == state
    play(other, steps)
    other.hardware.close()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in BOARDS
        for kind, (first, *_) in Board(name).kinds().items()
        if not first.registers
    ],
)
def test_every_offset_of_every_device_answers(name: str, kind: str) -> None:
    board = Board(name)
    placement = board.kinds()[kind][0]
    size = placement.device.mmio_size
    for start in range(0, size, max(4, size // 0x1000)):
        for width in SIZES:
            value = board.bus.read(placement.at + start, width)
            assert 0 <= value < 1 << 8 * width, hex(start)
            board.bus.write(placement.at + start, width, value)
    board.hardware.close()
