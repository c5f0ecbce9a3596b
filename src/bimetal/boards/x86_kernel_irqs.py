"""The I/O APIC and the PICs: the board's devices, and what KVM tells of its own (Linux
``arch/x86/include/uapi/asm/kvm.h``, struct kvm_irqchip)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from bimetal.devices.irq.apic.bus import ApicBus
from bimetal.devices.irq.apic.io import IoApic
from bimetal.devices.irq.pic import CASCADE, Pic, PicLevels

__all__ = ["Controllers", "chips_of", "devices_of"]

HEADER = 8
PIC_MASTER, PIC_SLAVE, IO_APIC = range(3)
CHIP_SIZE = 520
PIC = struct.Struct("16B")
PIC_FIELDS = (
    *("inputs", "requested", "masked", "serviced", "first", "vectors", "reads_served", "polled"),
    *("special", "awaits", "automatic", "rotating", "nested", "needs_fourth", "levels"),
    "level_mask",
)
LEVEL_MASKS = (0xF8, 0xDE)
SAME = (
    *("inputs", "requested", "masked", "serviced", "vectors", "levels"),
    *("reads_served", "polled", "special", "automatic", "rotating", "nested"),
)
"""What both call the same; the last half are yes or no."""
AWAITS = {0: 0, 2: 1, 3: 2, 4: 3}
"""Which initialisation command word comes next: with us by its number, with KVM one less."""
PINS, LEVEL = 24, 1 << 15
IO = struct.Struct("<QIIIxxxx")
"""Base, register that the window shows, number, levels."""
BASE = 0xFEC0_0000

Controllers = Mapping[str, Mapping[str, Any]]
"""States of the devices: ``io``, ``first``, ``second``, ``edges``."""


def chips_of(devices: Controllers) -> list[bytes]:
    """What KVM's controllers are to be, for what the board's are."""
    io, first, second, _ = _blank()
    for device, name in ((io, "io"), (first, "first"), (second, "second")):
        device.load(devices[name])
    pics = [_pic(number, each) for number, each in enumerate((first, second))]
    return [*pics, _io(io)]


def _pic(number: int, pic: Pic) -> bytes:
    values = {name: int(getattr(pic, name)) for name in SAME}
    values |= {
        "first": pic.lowest + 1 & 7,
        "awaits": AWAITS[pic.wanted],
        "needs_fourth": pic.words & 1,
        "level_mask": LEVEL_MASKS[number],
    }
    state = PIC.pack(*(values[name] for name in PIC_FIELDS))
    return _chip((PIC_MASTER, PIC_SLAVE)[number], state)


def _io(io: IoApic) -> bytes:
    levels = sum(1 << n for n, entry in enumerate(io.entries) if entry & LEVEL) & io.levels
    state = IO.pack(BASE, int(io.SELECT), io.number, levels)
    return _chip(IO_APIC, state + b"".join(each.to_bytes(8, "little") for each in io.entries))


def _chip(number: int, state: bytes) -> bytes:
    return (number.to_bytes(HEADER, "little") + state).ljust(CHIP_SIZE, b"\0")


def devices_of(chips: Sequence[bytes]) -> dict[str, dict[str, Any]]:
    """The inverse of `chips_of`. Which lines are high the PICs tell of those that edges matter of;
    the I/O APIC of others."""
    io, first, second, edges = _blank()
    for pic, chip in ((first, chips[0]), (second, chips[1])):
        _set_pic(pic, bytes(chip)[HEADER:])
    edges.FIRST, edges.SECOND = first.levels, second.levels
    second.update()
    first.update()
    chip = bytes(chips[2])[HEADER:]
    _, io.SELECT, io.number, levels = IO.unpack_from(chip)
    io.entries = [
        int.from_bytes(chip[IO.size + 8 * n : IO.size + 8 * n + 8], "little") for n in range(PINS)
    ]
    of_levels = sum(1 << n for n, entry in enumerate(io.entries) if entry & LEVEL)
    inputs = first.inputs & ~(1 << CASCADE) | second.inputs << 8
    io.levels = levels & of_levels | inputs & ~of_levels
    named = {"io": io, "first": first, "second": second, "edges": edges}
    return {name: device.save() for name, device in named.items()}


def _set_pic(pic: Pic, state: bytes) -> None:
    values = dict(zip(PIC_FIELDS, PIC.unpack_from(state), strict=True))
    for number, name in enumerate(SAME):
        value = values[name]
        setattr(pic, name, value if number < len(SAME) // 2 else bool(value))
    pic.lowest = values["first"] - 1 & 7
    pic.wanted = {kernel: ours for ours, kernel in AWAITS.items()}[values["awaits"]]
    pic.words = 1 << 4 | values["needs_fourth"]


def _blank() -> tuple[IoApic, Pic, Pic, PicLevels]:
    """The devices of a board, wired as there, after a reset."""
    second = Pic()
    first = Pic(second)
    second.intr.connect(first[CASCADE])
    return IoApic(ApicBus()), first, second, PicLevels(first, second)
