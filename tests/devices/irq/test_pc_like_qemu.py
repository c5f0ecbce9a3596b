"""The interrupt controllers and the timer of a PC beside QEMU's models of them, in random
conversations. Where the two may differ, a conversation leaves out what makes them differ, and says
why."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from bimetal.base.clock import VirtualClock
from bimetal.devices.irq.apic.bus import ApicBus
from bimetal.devices.irq.apic.io import IoApic
from bimetal.devices.irq.pic import CASCADE, Pic, PicLevels
from bimetal.devices.timer.pit import SPEAKER, Pit
from tests.devices.qtest import Qtest
from tests.host import programs

pytestmark = programs("qemu-system-x86_64")

FIRST, SECOND, LEVELS = 0x20, 0xA0, 0x4D0
TIMER, GATE = 0x40, 0x61
IO_APIC = 0xFEC0_0000
PICS = [f"/machine/unattached/device[{n}]" for n in (6, 7)]
"""As ``info qom-tree`` shows them."""
IO_APIC_PATH = "/machine/i440fx/ioapic"
SEEDS = range(12)


@pytest.fixture
def qemu() -> Iterator[Qtest]:
    peer = Qtest("qemu-system-x86_64", "pc")
    yield peer
    peer.close()


class Pics:
    """Both pairs of controllers."""

    def __init__(self, qemu: Qtest):
        self.qemu = qemu
        second = Pic()
        self.pics = (Pic(second), second)
        second.intr.connect(self.pics[0][CASCADE])
        self.levels = PicLevels(*self.pics)

    def write(self, port: int, value: int) -> None:
        self.qemu.write_port(port, value)
        if port & ~1 == LEVELS:
            self.levels.write(port & 1, 1, value)
        else:
            self._at(port).write(port & 1, 1, value)

    def agree(self, port: int) -> None:
        ours, theirs = self._at(port).read(port & 1, 1), self.qemu.read_port(port)
        assert ours == theirs, f"port {port:#x}: {ours:#x}, QEMU {theirs:#x}"

    def drive(self, number: int, level: bool) -> None:
        self.pics[number // 8].set_input(number % 8, level)
        self.qemu.drive(PICS[number // 8], number % 8, level)

    def _at(self, port: int) -> Pic:
        return self.pics[port & ~1 != FIRST]

    def begin(self, port: int, vectors: int, cascade: int, last: int) -> None:
        for offset, word in enumerate((0x11, vectors, cascade, last)):
            self.write(port + min(offset, 1), word)

    def agree_on_all(self) -> None:
        for port in (FIRST, SECOND):
            for word in (0x0A, 0x0B):  # what is requested, and what is served
                self.write(port, word)
                self.agree(port)
            self.agree(port + 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_interrupt_controllers_of_a_pc(qemu: Qtest, seed: int) -> None:
    """Without inputs that are high while they are made level-triggered: QEMU takes the next change
    of any input for the one that tells it."""
    given, pics = random.Random(seed), Pics(qemu)
    pics.write(LEVELS, levels := given.getrandbits(8) & 0xF8)
    pics.write(LEVELS + 1, more := given.getrandbits(8) & 0xDE)
    del levels, more
    automatic = 2 if seed % 4 == 3 else 0
    for port, vectors, cascade in ((FIRST, 0x20, 4), (SECOND, 0x28, 2)):
        pics.begin(port, vectors, cascade, 1 | automatic)
        pics.write(port + 1, 0)
    inputs = [number for number in range(16) if number != 2]
    for _ in range(250):
        port = given.choice((FIRST, SECOND))
        match given.randrange(8):
            case 0 | 1 | 2:
                pics.drive(given.choice(inputs), given.random() < 0.6)
            case 3:
                pics.write(port + 1, given.getrandbits(8) & given.getrandbits(8))
            case 4:  # ends, with and without rotation
                pics.write(port, given.choice((0x20, 0x60, 0xA0, 0xC0, 0xE0)) | given.randrange(8))
            case 5:
                pics.write(port, given.choice((0x48, 0x68)))  # special mask mode
            case 6:  # a poll takes the most urgent one
                pics.write(port, 0x0C)
                pics.agree(port)
            case 7:
                pics.agree_on_all()
    pics.agree_on_all()


class Timers:
    """Both timers. Time stands still: QEMU's packages have no accelerator that lets it pass."""

    def __init__(self, qemu: Qtest):
        self.qemu, clock = qemu, VirtualClock()
        self.pit = Pit(clock)
        self.modes = [3] * 3

    def write(self, port: int, value: int) -> None:
        self.qemu.write_port(port, value)
        if port == GATE:
            self.pit.write(SPEAKER, 1, value)
        else:
            self.pit.write(port - TIMER, 1, value)

    def agree(self, port: int, mask: int = 0xFF) -> None:
        offset = SPEAKER if port == GATE else port - TIMER
        ours, theirs = self.pit.read(offset, 1) & mask, self.qemu.read_port(port) & mask
        assert ours == theirs, f"port {port:#x}: {ours:#x}, QEMU {theirs:#x}"

    def choose(self, counter: int, mode: int, access: int) -> None:
        self.modes[counter] = mode
        self.write(TIMER + 3, counter << 6 | access << 4 | mode << 1)

    def agree_on_status(self, counter: int) -> None:
        """But for the output in modes 2 and 4, which QEMU has upside down."""
        self.write(TIMER + 3, 0xE0 | 2 << counter)
        self.agree(TIMER + counter, 0x7F if self.modes[counter] in (2, 4) else 0xFF)


@pytest.mark.parametrize("seed", SEEDS)
def test_interval_timer_of_a_pc(qemu: Qtest, seed: int) -> None:
    """In the modes that PCs use."""
    given, timers = random.Random(seed), Timers(qemu)
    timers.write(GATE, 1)
    for counter in range(3):
        timers.choose(counter, 2, 3)
        timers.write(TIMER + counter, 0x34)
        timers.write(TIMER + counter, 0x12)
    for _ in range(200):
        counter = given.randrange(3)
        match given.randrange(5):
            case 0:
                access = given.choice((1, 2, 3))
                timers.choose(counter, given.choice((0, 2, 3, 4)), access)
                for _ in range(2 if access == 3 else 1):
                    timers.write(TIMER + counter, given.randrange(1, 256))
            case 1:
                timers.write(TIMER + 3, counter << 6)  # keeps the count
            case 2:
                timers.agree_on_status(counter)
            case 3:
                timers.agree(GATE, 0x0F if timers.modes[2] in (2, 4) else 0x2F)
        for _ in range(2):
            timers.agree(TIMER + counter)


@pytest.mark.parametrize("seed", SEEDS)
def test_io_apic(qemu: Qtest, seed: int) -> None:
    """Each pin stays edge- or level-triggered: QEMU keeps what it remembers of one for the other.
    Pins 0 and 2 have one input in QEMU's PC."""
    given, ours = random.Random(seed), IoApic(ApicBus())
    levels = [False] * 24

    def drive(pin: int) -> None:
        qemu.drive(IO_APIC_PATH, pin, levels[pin])
        ours.set_input(pin, levels[pin])

    def write(register: int, value: int) -> None:
        for offset, word in ((0, register), (0x10, value)):
            qemu.write(IO_APIC + offset, word)
            ours.write(offset, 4, word)

    def agree(register: int) -> None:
        qemu.write(IO_APIC, register)
        ours.write(0, 4, register)
        theirs = qemu.read(IO_APIC + 0x10)
        mine = ours.read(0x10, 4)
        assert mine == theirs, f"register {register:#x}: {mine:#x}, QEMU {theirs:#x}"

    for pin in range(24):
        write(0x10 + 2 * pin, pin % 2 << 15)
    for _ in range(300):
        pin = given.choice([1, *range(3, 24)])
        match given.randrange(4):
            case 0:
                write(0x11 + 2 * pin, given.getrandbits(32) & 0xFF00_0000)  # QEMU keeps all bits
                low = given.getrandbits(17) & ~(7 << 8 | 1 << 15)
                write(0x10 + 2 * pin, low | pin % 2 << 15)
            case 1:
                levels[pin] = given.random() < 0.5
                drive(pin)
            case 2:
                vector = ours.entries[pin] & 0xFF
                qemu.write(IO_APIC + 0x40, vector)
                ours.write(0x40, 4, vector)
            case 3:
                write(0, given.getrandbits(32))
        for register in (0, 1, 0x10 + 2 * pin, 0x11 + 2 * pin):
            agree(register)
