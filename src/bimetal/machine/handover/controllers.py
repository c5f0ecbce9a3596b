"""The I/O APIC and the PICs: the board's devices, and what KVM tells of its own (Linux
``arch/x86/include/uapi/asm/kvm.h``, struct kvm_irqchip)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bimetal.accel.kvm.abi_x86 import IO_APIC, IRQCHIP_SIZE, PIC_MASTER, PIC_SLAVE
from bimetal.accel.kvm.layout import Layout
from bimetal.devices.irq.apic.bus import ApicBus
from bimetal.devices.irq.apic.io import IoApic
from bimetal.devices.irq.pic import CASCADE, Pic, PicLevels

__all__ = ["Controllers", "chips_of", "devices_of"]

HEADER = 8
PIC = Layout(
    "inputs:B requested:B masked:B serviced:B first:B vectors:B reads_served:B polled:B special:B "
    "awaits:B automatic:B rotating:B nested:B needs_fourth:B levels:B level_mask:B"
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
IO = Layout("base:Q selected:I number:I levels:I padding:I")
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
    state = PIC.new(
        **values,
        first=pic.lowest + 1 & 7,
        awaits=AWAITS[pic.wanted],
        needs_fourth=pic.words & 1,
        level_mask=LEVEL_MASKS[number],
    )
    return _chip((PIC_MASTER, PIC_SLAVE)[number], state)


def _io(io: IoApic) -> bytes:
    levels = sum(1 << n for n, entry in enumerate(io.entries) if entry & LEVEL) & io.levels
    state = IO.new(base=BASE, selected=int(io.SELECT), number=io.number, levels=levels)
    return _chip(IO_APIC, state + b"".join(each.to_bytes(8, "little") for each in io.entries))


def _chip(number: int, state: bytes | bytearray) -> bytes:
    return (number.to_bytes(HEADER, "little") + bytes(state)).ljust(IRQCHIP_SIZE, b"\0")


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
    io.SELECT, io.number = IO.get(chip, "selected"), IO.get(chip, "number")
    io.entries = [
        int.from_bytes(chip[IO.size + 8 * n : IO.size + 8 * n + 8], "little") for n in range(PINS)
    ]
    of_levels = sum(1 << n for n, entry in enumerate(io.entries) if entry & LEVEL)
    inputs = first.inputs & ~(1 << CASCADE) | second.inputs << 8
    io.levels = IO.get(chip, "levels") & of_levels | inputs & ~of_levels
    named = {"io": io, "first": first, "second": second, "edges": edges}
    return {name: device.save() for name, device in named.items()}


def _set_pic(pic: Pic, state: bytes) -> None:
    for number, name in enumerate(SAME):
        value = PIC.get(state, name)
        setattr(pic, name, value if number < len(SAME) // 2 else bool(value))
    pic.lowest = PIC.get(state, "first") - 1 & 7
    pic.wanted = {kernel: ours for ours, kernel in AWAITS.items()}[PIC.get(state, "awaits")]
    pic.words = 1 << 4 | PIC.get(state, "needs_fourth")


def _blank() -> tuple[IoApic, Pic, Pic, PicLevels]:
    """The devices of a board, wired as there, after a reset."""
    second = Pic()
    first = Pic(second)
    second.intr.connect(first[CASCADE])
    return IoApic(ApicBus()), first, second, PicLevels(first, second)
