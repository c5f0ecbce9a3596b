"""A local APIC: the board's device, and the page of registers that KVM has of its own (SDM volume
3, "Local APIC Register Address Map"; Linux ``Documentation/virt/kvm/api.rst``, KVM_GET_LAPIC)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bimetal.base.clock import VirtualClock
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.devices.irq.apic.bus import ApicBus
from bimetal.devices.irq.apic.local import LocalApic

__all__ = ["apic_of", "page_of"]

SIZE = 1024
PLACES = {
    "TASK": 0x80, "NAMES": 0xD0, "FORMAT": 0xE0, "SPURIOUS": 0xF0, "ERRORS": 0x280,
    "TIMER": 0x320, "THERMAL": 0x330, "MONITORS": 0x340, "ERROR_VECTOR": 0x370,
    "INITIAL": 0x380, "DIVIDE": 0x3E0,
}  # fmt: skip
"""Registers that are the same in both."""
ID, VERSION, COMMAND, DESTINATION, CURRENT = 0x20, 0x30, 0x300, 0x310, 0x390
PINS = (0x350, 0x360)
SERVICED, LEVELS, REQUESTED = 0x100, 0x180, 0x200
KERNEL_VERSION = 0x5_0014
UNTOLD, MASKED = 1 << 12, 1 << 16
ID_AT = 24


def page_of(state: Mapping[str, Any], number: int, now: int) -> tuple[bytes, int, int]:
    """The page of registers, IA32_APIC_BASE, and the deadline on the machine's clock (0: none), of
    the local APIC of CPU ``number`` whose state a snapshot has. Raises `BimetalError` for what the
    kernel's cannot do."""
    apic = _blank(number, now)
    apic.load(state)
    if apic.SPURIOUS & UNTOLD:
        raise BimetalError(
            "the guest wants no ends of interrupts told to I/O APICs, which KVM's has no register "
            "for",
            "go on with the accelerator that it was saved with",
            ExitCode.UNAVAILABLE,
        )
    page = bytearray(SIZE)

    def put(at: int, value: int) -> None:
        page[at : at + 4] = (value & 0xFFFF_FFFF).to_bytes(4, "little")

    for name, at in PLACES.items():
        put(at, apic.values[name])
    left = apic.timer.left()
    if not left:
        put(PLACES["INITIAL"], 0)  # KVM would start what has expired once more
    for at, value in (
        (ID, number << ID_AT),
        (VERSION, KERNEL_VERSION),
        (COMMAND, apic.COMMAND),
        (DESTINATION, apic.COMMAND >> 32),
        (CURRENT, left),
        *zip(PINS, apic.PINS, strict=True),
    ):
        put(at, value)
    for start, bits in (
        (SERVICED, apic.serviced),
        (LEVELS, apic.levels),
        (REQUESTED, apic.requested),
    ):
        for word in range(8):
            put(start + 16 * word, bits >> 32 * word)
    return bytes(page), int(apic.BASE), apic.timer.deadline


def apic_of(
    page: bytes, base: int, deadline: int, number: int, now: int, legacy: bool
) -> dict[str, Any]:
    """The inverse of `page_of`; ``legacy`` is the output of the PICs. Raises `BimetalError`."""
    apic = _blank(number, now)

    def get(at: int) -> int:
        return int.from_bytes(page[at : at + 4], "little")

    if get(ID) != number << ID_AT:
        raise BimetalError(
            f"the guest has given the local APIC of CPU {number} another number",
            "go on with KVM",
            ExitCode.UNAVAILABLE,
        )
    apic.BASE = base
    for name, at in PLACES.items():
        setattr(apic, name, get(at))
    apic.COMMAND = get(COMMAND) | get(DESTINATION) << 32
    apic.PINS[:] = [get(at) for at in PINS]
    apic.serviced, apic.levels, apic.requested = (
        sum(get(start + 16 * word) << 32 * word for word in range(8))
        for start in (SERVICED, LEVELS, REQUESTED)
    )
    _set_timer(apic, get(CURRENT), deadline, now)
    apic._legacy = legacy
    apic.update()
    return apic.save()


def _set_timer(apic: LocalApic, left: int, deadline: int, now: int) -> None:
    """Have it go on from where the kernel's was."""
    timer, clock = apic.timer, apic.timer._clock
    mode, code = apic.TIMER >> 17 & 3, apic.DIVIDE & 3 | apic.DIVIDE >> 1 & 4
    timer.divide(1 << (code + 1 & 7))
    timer.choose(waits=mode == 2, periodic=mode == 1)
    if timer.waits:
        timer.wait(deadline)
    elif left:
        clock.set(now - (apic.INITIAL - left) * timer.divider)
        timer.start(apic.INITIAL)


def _blank(number: int, now: int) -> LocalApic:
    """The local APIC of a CPU, on a bus of its own, after a reset."""
    clock = VirtualClock()
    clock.set(now)
    return LocalApic(number, ApicBus(), clock)
