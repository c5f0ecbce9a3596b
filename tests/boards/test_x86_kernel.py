"""Interrupt controllers that change between the board and KVM: there and back, and KVM's own take
what ours had. Guests' writes put them into states that guests can reach."""

from __future__ import annotations

import random
from typing import Any

import pytest

from bimetal.accel.kvm.host import create
from bimetal.accel.kvm.x86 import X86Machine
from bimetal.base.clock import VirtualClock
from bimetal.base.errors import BimetalError
from bimetal.boards.x86_kernel_apic import apic_of, page_of
from bimetal.boards.x86_kernel_irqs import chips_of, devices_of
from bimetal.devices.irq.apic.bus import ApicBus
from bimetal.devices.irq.apic.interrupts import Interrupt
from bimetal.devices.irq.apic.io import IoApic
from bimetal.devices.irq.apic.local import LocalApic
from bimetal.devices.irq.pic import CASCADE, Pic, PicLevels
from tests.accel.kvm.quirks import KVM_MISSING

NOW = 5_000_000_000
SEEDS = range(15)
ONE_SHOT, PERIODIC, DEADLINE = 0, 1, 2
CURRENT = 0x390
LEVEL = 1 << 15

pytestmark = pytest.mark.filterwarnings("error")


def local_apic(seed: int, extended: bool = False) -> LocalApic:
    """One after some writes of a guest and some interrupts."""
    chance, clock = random.Random(seed), VirtualClock()
    clock.set(NOW - 1_000_000)
    apic = LocalApic(0, ApicBus(), clock)
    if extended:
        apic.write(8 * 0x1B, 8, 0xFEE0_0C00)

    def write(register: int, value: int) -> None:
        apic.write(8 * (0x800 + register), 8, value)

    write(0x0F, 0x100 | chance.randrange(16, 256))
    if not extended:
        write(0x0D, chance.getrandbits(8) << 24)
        write(0x0E, chance.choice([0xF000_0000, 0]))
    for register in (0x33, 0x34, 0x35, 0x36, 0x37):
        write(register, chance.randrange(16, 256) | chance.getrandbits(1) << 16)
    mode = chance.choice([ONE_SHOT, PERIODIC, DEADLINE])
    write(0x32, chance.randrange(16, 256) | mode << 17)
    write(0x3E, chance.getrandbits(4) & 0xB)
    if mode == DEADLINE:
        apic.write(8 * 0x6E0, 8, NOW + chance.randrange(1, 1 << 30))
    elif chance.random() < 0.8:
        write(0x38, chance.randrange(10_000_000, 1 << 31))
    for _ in range(chance.randrange(6)):
        apic.receive(Interrupt(chance.randrange(16, 256), level=chance.random() < 0.5))
        if chance.random() < 0.5:
            apic.read(8 * 0x1000, 8)
    write(0x08, chance.getrandbits(8))
    clock.set(NOW)
    return apic


@pytest.mark.parametrize("extended", [False, True], ids=["xapic", "x2apic"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_local_apic_comes_back_as_it_went(seed: int, extended: bool) -> None:
    before = local_apic(seed, extended).save()
    page, base, deadline = page_of(before, 0, NOW)
    after = apic_of(page, base, deadline, 0, NOW, legacy=False)
    if before["timer"]["_count"]:
        # How far it has come between two counts KVM does not tell.
        for state in (before, after):
            state["timer"] |= {"_began": 0, "_alarm": state["timer"]["_alarm"] >> 8}
    assert after == before


def test_a_timer_that_has_expired_stays_so() -> None:
    apic = local_apic(0)
    apic.write(8 * 0x832, 8, 0x30)
    apic.write(8 * 0x838, 8, 1)
    clock = apic.timer._clock
    assert isinstance(clock, VirtualClock)
    clock.advance(1000)
    page, base, deadline = page_of(apic.save(), 0, clock.now_ns())
    assert apic_of(page, base, deadline, 0, NOW, legacy=False)["timer"]["_alarm"] is None


def test_what_the_kernel_cannot_do_is_an_error() -> None:
    apic = local_apic(0)
    apic.write(8 * 0x80F, 8, 0x11FF)
    with pytest.raises(BimetalError, match="no ends of interrupts"):
        page_of(apic.save(), 0, NOW)


def controllers(seed: int) -> dict[str, Any]:
    """The states of an I/O APIC and two PICs after some writes of a guest and some interrupts."""
    chance = random.Random(seed)
    io, second = IoApic(ApicBus()), Pic()
    first = Pic(second)
    second.intr.connect(first[CASCADE])
    edges = PicLevels(first, second)
    for pic, words in ((first, (0x11, 0x20, 4, 1)), (second, (0x11, 0x28, 2, 1))):
        pic.write(0, 1, words[0])
        for word in words[1 : chance.choice([2, 4, 4, 4])]:
            pic.write(1, 1, word | chance.choice([0, 2, 16]) * (word == 1))
        pic.write(1, 1, chance.getrandbits(8))
        pic.write(0, 1, chance.choice([0x0A, 0x0B, 0x68, 0x48, 0xC0 | chance.getrandbits(3)]))
    edges.write(0, 1, chance.getrandbits(8) & 0xF8)
    edges.write(1, 1, chance.getrandbits(8) & 0xDE)
    for pin in range(24):
        entry = chance.getrandbits(64) & 0xFF00_0000_0001_A0FF
        io.write(0, 4, 0x10 + 2 * pin + 1)
        io.write(0x10, 4, entry >> 32)
        io.write(0, 4, 0x10 + 2 * pin)
        io.write(0x10, 4, entry & 0xFFFF_FFFF)
    for line in range(24):
        level = chance.random() < 0.4
        io.set_input(line, level)
        if line < 16 and line != CASCADE:
            (first, second)[line // 8].set_input(line % 8, level)
    if chance.random() < 0.5:
        first.acknowledge()
    named = {"io": io, "first": first, "second": second, "edges": edges}
    return {name: device.save() for name, device in named.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_interrupt_controllers_come_back_as_they_went(seed: int) -> None:
    before = controllers(seed)
    after = devices_of(chips_of(before))
    for states in (before, after):
        for name in ("first", "second"):
            states[name]["words"] &= 1  # of the rest no bit matters once it was written
        # KVM tells no levels of edge-triggered pins that are no PIC's; 2 is the second PIC itself.
        told = sum(1 << n for n, entry in enumerate(states["io"]["entries"]) if entry & LEVEL)
        states["io"]["levels"] &= told | 0xFFFF & ~(1 << CASCADE)
    assert after == before


@pytest.fixture
def machine() -> Any:
    if KVM_MISSING:
        pytest.skip(KVM_MISSING)
    made = create("x86_64", controller="kernel")
    yield made
    made.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_kvm_tells_what_its_controllers_were_given(machine: X86Machine, seed: int) -> None:
    given = chips_of(controllers(seed))
    machine.load({"clock": 0, "chips": given})
    told = machine.save()["chips"]
    assert isinstance(told, list)
    pins = slice(24 + 8, 24 + 8 + 24 * 8)
    assert told[2][pins] == given[2][pins]
    of_kvm, ours = devices_of(told), devices_of(given)
    for name in ("serviced", "masked", "levels", "vectors", "lowest", "wanted", "automatic",
                 "special", "nested", "reads_served"):  # fmt: skip
        for pic in ("first", "second"):
            assert of_kvm[pic][name] == ours[pic][name], (pic, name)
    assert of_kvm["edges"] == ours["edges"]


@pytest.mark.parametrize("extended", [False, True], ids=["xapic", "x2apic"])
@pytest.mark.parametrize("seed", SEEDS)
def test_kvm_tells_what_its_local_apic_was_given(
    machine: X86Machine, seed: int, extended: bool
) -> None:
    apic = local_apic(seed, extended)
    page, base, _ = page_of(apic.save(), 0, NOW)
    cpu = machine.add_cpu(0)
    cpu.write_register("apic_base", base)
    cpu.load({**cpu.save(), "lapic": page})
    told = cpu.save()["lapic"]
    assert isinstance(told, bytes)
    for at in range(0, len(page), 16):
        mine, theirs = (int.from_bytes(each[at : at + 4], "little") for each in (page, told))
        if at == CURRENT:  # counts on, but once around
            assert theirs <= int(apic.INITIAL)
        elif at not in (0x30, 0xA0):  # its version, and the priority that follows from others
            assert theirs == mine, hex(at)
