"""Every device of every board: saved in the middle of what a guest does to it, loaded into another
machine, and gone on with in both, which must be the same to the guest."""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bimetal.accel.script import ScriptAccelerator
from bimetal.backends.chars.null import NoChars
from bimetal.base.clock import VirtualClock
from bimetal.base.state import Stateful
from bimetal.devices.device import Device
from bimetal.machine.bus import Bus
from bimetal.machine.hardware import Hardware
from bimetal.machine.machine import Machine
from bimetal.machine.placements import Placement

BOARDS = {
    "riscv-virt": {"bios": "none"},
    "riscv-virt,bus=pci": {"bios": "none"},
    "riscv-virt,aia=aplic": {"bios": "none"},
    "riscv-virt,aia=aplic-imsic,bus=pci": {"bios": "none"},
    "riscv-virt,aia=aplic-imsic": {},
    "arm-virt,gic=2": {"bios": "none"},
    "arm-virt,gic=3,virtualization=on": {},
    "microvm": {},
}
STEPS = 60
CONSTANTS = (bool, int, str, bytes, tuple)


class Still:
    """A board without CPUs, whose devices a test speaks to as CPUs do."""

    def __init__(self, board: str, folder: Path, **options: Any):
        self.clock = VirtualClock(wall_start_ns=10**18)
        flash = folder / "flash"
        flash.write_bytes(b"\xa5" * 4096)
        for name in ("kernel", "disk"):
            (folder / name).write_bytes(bytes(1 << 20))
        self.vm = Machine(
            board,
            accel=ScriptAccelerator(),
            memory="16M",
            cpus=2,
            kernel=str(folder / "kernel"),
            kernel_format="raw",
            serial=NoChars(),
            hvc=NoChars(),
            clock=self.clock,
            **options,
        )
        if board != "microvm":
            self.vm.disk(str(folder / "disk"), snapshot=True)
        self.vm.video("ramfb" if "gic=2" in board else "virtio")
        self.vm.input("keyboard")
        self.vm.input("tablet")
        if board != "microvm":
            self.vm.input("mouse", bus="usb")
            self.vm.disk(str(folder / "disk"), snapshot=True, bus="usb")
        self.hardware: Hardware = self.vm._parts.furnished()
        self.bus = Bus(self.hardware.space, "bus")
        self.ports = Bus(self.hardware.ports, "ports")

    def access(self, placement: Placement, at: int, size: int, value: int | None) -> int | None:
        """An access by CPU 1; what a read answers."""
        self.hardware.initiator.cpu = 1
        bus, address = self.ports if placement.port else self.bus, placement.at + at
        if placement.registers:
            return self.register(placement.device, at & -8, value)
        if placement.on_bus:
            return self.configure(placement.device, at & -size, min(size, 4), value)
        if value is None:
            return bus.read(address, size)
        bus.write(address, size, value)
        return None

    def register(self, device: Device, at: int, value: int | None) -> int | None:
        if value is None:
            return device.read(at, 8)
        device.write(at, 8, value & (1 << 64) - 1)
        return None

    def configure(self, function: Device, at: int, size: int, value: int | None) -> int | None:
        if value is None:
            return function.read(at, size)
        function.write(at, size, value & (1 << 8 * size) - 1)
        return None

    def drive(self, dice: random.Random) -> None:
        """Drive inputs of the interrupt controllers."""
        for device in self.devices():
            for _ in range(16):
                if hasattr(device, "set_input"):
                    with suppress(IndexError):
                        device[dice.randrange(1, 64)](dice.random() < 0.5)  # type: ignore[index]

    def devices(self) -> Iterator[Device]:
        return (placement.device for placement in self.hardware.placements)

    def take(self, other: "Still") -> None:
        """Take over the whole state of another board."""
        self.clock._now = other.clock._now
        for ram, its in zip(self.hardware.memories, other.hardware.memories, strict=True):
            ram.bytes[:] = its.bytes
        for device, theirs in zip(self.devices(), other.devices(), strict=True):
            theirs.settle()
            device.load(theirs.save())
            for name, area in theirs.areas().items():
                mine = device.areas()[name]
                mine.clear()
                for number, page in area.contents():
                    mine.put(number, page)

    def states(self) -> dict[str, dict[str, Any]]:
        return {device.name: device.save() for device in self.devices()}


@pytest.fixture
def still(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Still]:
    def make(board: str) -> Still:
        made = Still(board, tmp_path, **BOARDS[board])
        request.addfinalizer(made.vm.close)
        return made

    return make


def walk(seed: int, placement: Placement) -> list[tuple[int, int, int | None]]:
    """Accesses at random: mostly to what is declared, with values of few and of many bits."""
    dice = random.Random(f"{seed} {placement.device.name}")
    declared = list(type(placement.device)._declared.values())
    steps: list[tuple[int, int, int | None]] = []
    for _ in range(STEPS):
        if declared and dice.random() < 0.9:
            chosen = dice.choice(declared)
            rows = getattr(chosen, "count", 1)
            row = dice.randrange(rows if isinstance(rows, int) else 2)
            at, size = chosen.offset + row * getattr(chosen, "stride", 0), chosen.size
        else:
            size = dice.choice((1, 2, 4, 8))
            at = dice.randrange(0, min(placement.device.mmio_size, 1 << 12), size)
        value = dice.choice((0, 1, 3, dice.getrandbits(8 * size), 1 << dice.randrange(8 * size)))
        steps.append((at, size, None if dice.random() < 0.4 else value & (1 << 8 * size) - 1))
    return steps


def constants(part: object) -> dict[str, object]:
    """What an object and its parts call fixed, as far as values can tell."""
    found: dict[str, object] = {}
    if not isinstance(part, Stateful):
        return found
    for name, value in vars(part).items():
        if name in type(part)._saved:
            for n, each in enumerate(value if isinstance(value, list) else [value]):
                found |= {f"{name}.{n}.{inner}": it for inner, it in constants(each).items()}
        elif any(name in vars(cls).get("fixed", ()) for cls in type(part).__mro__):
            found |= {name: value} if isinstance(value, CONSTANTS) else {}
    return found


@pytest.mark.parametrize("board", BOARDS)
def test_a_device_that_was_saved_goes_on_as_if_nothing_was(
    board: str, still: Callable[[str], Still]
) -> None:
    first, second = still(board), still(board)
    fixed = {device.name: constants(device) for device in first.devices()}
    for turn in range(2):
        for placement in first.hardware.placements:
            for at, size, value in walk(turn, placement):
                first.access(placement, at, size, value)
            first.clock.advance(12_345_678)
            first.drive(random.Random(turn))
        second.take(first)
        assert second.states() == first.states()
        assert fixed == {device.name: constants(device) for device in first.devices()}
        for mine, theirs in zip(first.hardware.placements, second.hardware.placements, strict=True):
            for at, size, value in walk(turn + 100, mine):
                seen = first.access(mine, at, size, value), second.access(theirs, at, size, value)
                assert seen[0] == seen[1], (mine.device, hex(at), size, value)
            for each in (first, second):
                each.clock.advance(1_234_567)
                each.drive(random.Random(turn))
            assert first.states() == second.states(), mine.device
