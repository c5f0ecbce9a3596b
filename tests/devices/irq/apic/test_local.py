"""Local APICs as conversations: what arrives, what the CPU takes, and what it tells others."""

from __future__ import annotations

import random

import pytest

from bimetal.base.clock import VirtualClock
from bimetal.devices.irq.apic.bus import ApicBus
from bimetal.devices.irq.apic.interrupts import Delivery, Interrupt
from bimetal.devices.irq.apic.io import IoApic
from bimetal.devices.irq.apic.local import LocalApic
from bimetal.devices.irq.apic.window import ApicWindow
from bimetal.memory.initiator import Initiator

ID, TASK, END, NAMES, FORMAT, SPURIOUS = 0x20, 0x80, 0xB0, 0xD0, 0xE0, 0xF0
SERVICED, REQUESTED, ERRORS = 0x100, 0x200, 0x280
COMMAND, COMMAND_HIGH, TIMER, PIN_0 = 0x300, 0x310, 0x320, 0x350
INITIAL, CURRENT, DIVIDE = 0x380, 0x390, 0x3E0
"""Offsets in memory."""
TAKE, BASE, DEADLINE = 8 * 0x1000, 8 * 0x1B, 8 * 0x6E0
MASKED, PERIODIC, UNTIL = 1 << 16, 1 << 17, 2 << 17
X2APIC = 0xFEE0_0000 | 0xC00


class Pc:
    """CPUs that note what is done to them, their local APICs, and an I/O APIC."""

    def __init__(self, cpus: int = 4):
        self.clock, self.bus, self.initiator = VirtualClock(), ApicBus(), Initiator()
        self.told: list[tuple[str, int]] = []
        self.bus.processors = self
        self.locals = [LocalApic(cpu, self.bus, self.clock) for cpu in range(cpus)]
        self.window = ApicWindow(self.bus, self.initiator)
        self.io = IoApic(self.bus)
        for cpu in range(cpus):
            self.write(SPURIOUS, 0x1FF, cpu)

    def init(self, cpu: int) -> None:
        self.told.append(("init", cpu))

    def start(self, cpu: int, page: int) -> None:
        self.told.append((f"start at {page}", cpu))

    def nmi(self, cpu: int) -> None:
        self.told.append(("nmi", cpu))

    def read(self, offset: int, cpu: int = 0) -> int:
        self.initiator.cpu = cpu
        return self.window.read(offset, 4)

    def write(self, offset: int, value: int, cpu: int = 0) -> None:
        self.initiator.cpu = cpu
        self.window.write(offset, 4, value)

    def take(self, cpu: int = 0) -> int | None:
        """What the CPU takes if its line is high."""
        if not self.locals[cpu].intr.high:
            return None
        taken = self.locals[cpu].read(TAKE, 8)
        assert taken & 0x100
        return taken & 0xFF

    def end(self, cpu: int = 0) -> None:
        self.write(END, 0, cpu)

    def asked(self) -> list[int]:
        """The CPUs whose lines are high."""
        return [each.number for each in self.locals if each.intr.high]

    def send(self, vector: int, destination: int, logical: bool = False) -> None:
        self.bus.send(Interrupt(vector, Delivery.FIXED, destination, logical))

    def advance(self, nanoseconds: int) -> None:
        self.clock.advance(nanoseconds)
        self.clock.run_due()

    def program(self, pin: int, entry: int) -> None:
        for half in range(2):
            self.io.write(0, 4, 0x11 - half + 2 * pin)
            self.io.write(0x10, 4, entry >> 32 * (1 - half) & 0xFFFF_FFFF)


def test_from_request_to_end() -> None:
    pc = Pc()
    pc.send(0x41, 1)
    assert pc.asked() == [1]
    assert pc.read(REQUESTED + 0x20, 1) == 1 << 1
    assert pc.take(1) == 0x41
    assert pc.read(SERVICED + 0x20, 1) == 1 << 1
    assert pc.asked() == []
    pc.end(1)
    assert pc.read(SERVICED + 0x20, 1) == 0


def test_only_a_higher_class_interrupts_what_is_served() -> None:
    pc = Pc()
    pc.send(0x50, 0)
    assert pc.take() == 0x50
    pc.send(0x5F, 0)  # of the same class
    assert pc.take() is None
    pc.send(0x61, 0)
    assert pc.take() == 0x61
    pc.end()
    assert pc.take() is None
    pc.end()
    assert pc.take() == 0x5F


def test_the_task_priority_holds_interrupts_back() -> None:
    pc = Pc()
    pc.write(TASK, 0x58)
    pc.send(0x5F, 0)
    assert pc.take() is None
    pc.write(TASK, 0x4F)
    assert pc.take() == 0x5F


def test_interrupts_are_taken_and_ended_in_the_order_of_their_vectors() -> None:
    given = random.Random(7)
    for _ in range(50):
        pc, vectors = Pc(1), given.sample(range(16, 256), 8)
        for vector in vectors:
            pc.send(vector, 0)
        taken = []
        while pc.locals[0].intr.high:
            taken.append(pc.take())
            pc.end()
        assert taken == sorted(vectors, reverse=True)


def test_nothing_arrives_at_one_that_is_disabled() -> None:
    pc = Pc()
    pc.write(SPURIOUS, 0xFF)
    pc.send(0x41, 0)
    pc.write(SPURIOUS, 0x1FF)
    assert pc.take() is None


@pytest.mark.parametrize(
    ("destination", "logical", "format_", "names", "meant"),
    [
        (2, False, 0xFFFF_FFFF, (1, 2, 4, 8), [2]),
        (0xFFFF_FFFF, False, 0xFFFF_FFFF, (1, 2, 4, 8), [0, 1, 2, 3]),
        (0b1010, True, 0xFFFF_FFFF, (1, 2, 4, 8), [1, 3]),
        (0x13, True, 0x0FFF_FFFF, (0x11, 0x12, 0x14, 0x21), [0, 1]),
        (0x21, True, 0x0FFF_FFFF, (0x11, 0x12, 0x14, 0x21), [3]),
    ],
)
def test_destinations(
    destination: int, logical: bool, format_: int, names: tuple[int, ...], meant: list[int]
) -> None:
    pc = Pc()
    for cpu, name in enumerate(names):
        pc.write(FORMAT, format_, cpu)
        pc.write(NAMES, name << 24, cpu)
    pc.send(0x30, destination, logical)
    assert pc.asked() == meant


def test_the_lowest_priority_is_one_cpu() -> None:
    pc = Pc()
    pc.write(TASK, 0x20, 0)
    pc.write(TASK, 0x10, 2)
    pc.write(TASK, 0x20, 1)
    pc.write(TASK, 0x20, 3)
    pc.bus.send(Interrupt(0x80, Delivery.LOWEST))
    assert pc.asked() == [2]


@pytest.mark.parametrize(("shorthand", "meant"), [(1, [1]), (2, [0, 1, 2, 3]), (3, [0, 2, 3])])
def test_shorthands(shorthand: int, meant: list[int]) -> None:
    pc = Pc()
    pc.write(COMMAND, 0x77 | shorthand << 18, 1)
    assert pc.asked() == meant


def test_a_cpu_starts_another_one() -> None:
    """As Linux does: INIT, its end, and two start-ups (SDM, "MP Initialization")."""
    pc = Pc()
    pc.write(COMMAND_HIGH, 3 << 24)
    for command in (0xC500, 0x8500, 0x0699, 0x0699):
        pc.write(COMMAND, command)
    assert pc.told == [("init", 3), ("start at 153", 3), ("start at 153", 3)]
    assert pc.read(SPURIOUS, 3) == 0xFF, "INIT resets the local APIC"


def test_interrupts_that_cannot_be_masked() -> None:
    pc = Pc()
    pc.write(COMMAND, 0x400 | 3 << 18)
    assert pc.told == [("nmi", 1), ("nmi", 2), ("nmi", 3)]


def test_extended_mode() -> None:
    pc = Pc()
    for local in pc.locals:
        local.write(BASE, 8, X2APIC)
    assert pc.read(ID, 2) == 0, "its registers are not in memory then"
    at = 8 * 0x800
    assert pc.locals[2].read(at + 8 * 2, 8) == 2
    assert pc.locals[2].read(at + 8 * 0xD, 8) == 1 << 2
    pc.locals[0].write(at + 8 * 0x30, 8, 3 << 32 | 0x45)
    assert pc.asked() == [3]
    pc.locals[0].write(at + 8 * 0x30, 8, 0xFFFF_FFFF << 32 | 0x45)
    assert pc.asked() == [0, 1, 2, 3]
    pc.locals[1].write(at + 8 * 0x3F, 8, 0xF0)
    assert pc.take(1) == 0xF0


def test_the_timer_counts_down_once() -> None:
    pc = Pc()
    pc.write(DIVIDE, 0b1011)  # by one
    pc.write(TIMER, 0x40)
    pc.write(INITIAL, 1000)
    pc.advance(400)
    assert pc.read(CURRENT) == 600
    assert pc.take() is None
    pc.advance(600)
    assert pc.take() == 0x40
    assert pc.read(CURRENT) == 0


@pytest.mark.parametrize(
    ("code", "divider"),
    [
        (0b0000, 2),
        (0b0001, 4),
        (0b0010, 8),
        (0b0011, 16),
        (0b1000, 32),
        (0b1001, 64),
        (0b1010, 128),
    ],
)
def test_the_timer_divides(code: int, divider: int) -> None:
    pc = Pc()
    pc.write(DIVIDE, code)
    pc.write(INITIAL, 100)
    pc.advance(50 * divider)
    assert pc.read(CURRENT) == 50


def test_the_timer_goes_on_at_another_speed() -> None:
    pc = Pc()
    pc.write(DIVIDE, 0b1011)
    pc.write(INITIAL, 1000)
    pc.advance(500)
    pc.write(DIVIDE, 0b0000)
    assert pc.read(CURRENT) == 500
    pc.advance(500)
    assert pc.read(CURRENT) == 250


def test_the_timer_counts_again_and_again() -> None:
    pc = Pc()
    pc.write(DIVIDE, 0b1011)
    pc.write(TIMER, 0x40 | PERIODIC)
    pc.write(INITIAL, 1000)
    for _ in range(3):
        pc.advance(1000)
        assert pc.take() == 0x40
        pc.end()
    pc.advance(2500)  # two periods and a half are one interrupt
    assert pc.take() == 0x40
    pc.end()
    assert pc.take() is None
    assert pc.read(CURRENT) == 500
    pc.write(INITIAL, 0)
    pc.advance(5000)
    assert pc.take() is None


def test_the_timer_waits_for_a_moment() -> None:
    pc = Pc()
    local = pc.locals[0]
    pc.write(TIMER, 0x40 | UNTIL)
    local.write(DEADLINE, 8, 5000)
    assert local.read(DEADLINE, 8) == 5000
    pc.advance(4999)
    assert pc.take() is None
    pc.advance(1)
    assert pc.take() == 0x40
    assert local.read(DEADLINE, 8) == 0
    pc.end()
    local.write(DEADLINE, 8, 4000)  # has passed
    pc.advance(0)
    assert pc.take() == 0x40
    pc.end()
    local.write(DEADLINE, 8, 9000)
    local.write(DEADLINE, 8, 0)
    pc.advance(10_000)
    assert pc.take() is None


def test_a_masked_timer_interrupts_nobody() -> None:
    pc = Pc()
    pc.write(TIMER, 0x40 | MASKED)
    pc.write(INITIAL, 10)
    pc.advance(1000)
    assert pc.take() is None


def test_a_level_that_stays_interrupts_again_after_its_end() -> None:
    pc = Pc()
    pc.program(5, 0x51 | 1 << 15)
    pc.io[5](True)
    assert pc.take() == 0x51
    pc.end()
    assert pc.take() == 0x51
    pc.io[5](False)
    pc.end()
    assert pc.take() is None


def test_an_edge_is_one_interrupt() -> None:
    pc = Pc()
    pc.program(5, 1 << 56 | 0x51)
    pc.io[5](True)
    assert pc.asked() == [1]
    assert pc.take(1) == 0x51
    pc.end(1)
    assert pc.take(1) is None
    pc.io[5](False)
    pc.io[5](True)
    assert pc.take(1) == 0x51


def test_a_device_writes_its_interrupt() -> None:
    pc = Pc()
    pc.window.take_message(0, 2 << 12, 0x4099)
    assert pc.take(2) == 0x99


class Vector:
    """The interrupt controllers of a PC, with one interrupt."""

    def acknowledge(self) -> int:
        return 0x08


def test_interrupts_of_a_pcs_controllers_pass_through() -> None:
    pc = Pc()
    pc.bus.legacy = Vector()
    pc.locals[0].legacy(True)
    assert pc.take() is None, "pin 0 is masked"
    pc.write(PIN_0, 0x700)
    assert pc.take() == 0x08
    assert pc.read(SERVICED) == 0, "it is served by those controllers"
    pc.locals[0].legacy(False)
    assert pc.take() is None


def test_vectors_of_exceptions_are_errors() -> None:
    pc = Pc()
    pc.write(COMMAND, 0x0F | 1 << 18)
    assert pc.take() is None
    pc.write(ERRORS, 0)
    assert pc.read(ERRORS) == 1 << 5
    pc.write(ERRORS, 0)
    assert pc.read(ERRORS) == 0
