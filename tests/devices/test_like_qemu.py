"""Devices of Arm's boards beside QEMU's models of them: random conversations, register by register.

QEMU's CPUs stand still, and the registers are accessed through its test protocol. Where the two
may differ, the conversation leaves out what makes them differ, and says why.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from bimetal.base.clock import VirtualClock
from bimetal.devices.device import Device
from bimetal.devices.gpio.pl061 import Pl061
from bimetal.devices.irq.gic.v2_cpu import Gicv2CpuInterface
from bimetal.devices.irq.gic.v2_distributor import Gicv2Distributor
from bimetal.devices.rtc.pl031 import Pl031
from bimetal.devices.serial.pl011 import Pl011
from bimetal.memory.initiator import Initiator
from tests.devices.qtest import Qtest
from tests.devices.serial.test_ns16550a import Terminal
from tests.host import programs

pytestmark = programs("qemu-system-aarch64")

GICD, GICC = 0x0800_0000, 0x0801_0000
UART, RTC, GPIO = 0x0900_0000, 0x0901_0000, 0x0903_0000
CPU, GIC, GPIO_PATH = (f"/machine/unattached/device[{n}]" for n in (0, 1, 6))
"""As ``info qom-tree`` shows them."""
IRQ, FIQ = 0, 1


@pytest.fixture
def qemu() -> Iterator[Qtest]:
    peer = Qtest("qemu-system-aarch64", "virt,gic-version=2", "-cpu", "cortex-a57")
    yield peer
    peer.close()


class Pair:
    """One device of ours and QEMU's at ``base``."""

    def __init__(self, qemu: Qtest, base: int, device: Device):
        self.qemu, self.base, self.device = qemu, base, device

    def write(self, offset: int, value: int, size: int = 4) -> None:
        self.qemu.write(self.base + offset, value, size)
        self.device.write(offset, size, value)

    def read(self, offset: int, size: int = 4) -> tuple[int, int]:
        return self.device.read(offset, size), self.qemu.read(self.base + offset, size)

    def agree(self, *offsets: int, size: int = 4) -> None:
        for offset in offsets:
            ours, theirs = self.read(offset, size)
            assert ours == theirs, f"{self.base + offset:#x}: {ours:#x}, QEMU {theirs:#x}"


class Gic:
    """A GICv2 of one CPU, here and there.

    Not compared: GICC_HPPIR where a mask or a group that is not enabled keeps QEMU from showing
    what waits; 1022 where nothing is urgent enough to be acknowledged (QEMU says that something of
    group 1 waits). Not done: enabling one group alone, since in QEMU an interrupt of the other
    stands in the way; SPIs made active by software, which QEMU's end of interrupt leaves active;
    zeroes written to GICD_SPENDSGIR, which QEMU takes for ones.
    """

    WORDS = (0x80, 0x100, 0x180, 0x200, 0x280, 0x300, 0x380)

    def __init__(self, qemu: Qtest, seed: int):
        self.qemu, self.chance = qemu, random.Random(seed)
        self.gicd = Gicv2Distributor(1, 256, Initiator())
        self.gicc = Gicv2CpuInterface(self.gicd)
        self.distributor = Pair(qemu, GICD, self.gicd)
        self.interface = Pair(qemu, GICC, self.gicc)
        self.handled = 0
        qemu.watch(CPU)

    def step(self) -> None:
        steps: list[tuple[int, Callable[[], None]]] = [
            (35, self.some_bits), (10, self.a_priority), (3, self.triggers), (6, self.an_sgi),
            (10, self.controls), (15, self.an_input), (10, self.acknowledge), (8, self.end),
        ]  # fmt: skip
        weights, actions = zip(*steps, strict=True)
        self.chance.choices(actions, weights)[0]()

    def some_bits(self) -> None:
        chance, register = self.chance, self.chance.choice(self.WORDS)
        offset = register + (0 if register == 0x300 else 4 * chance.randrange(3))
        few, many = 1 << chance.randrange(32), chance.getrandbits(32)
        self.distributor.write(offset, chance.choice([few, many & chance.getrandbits(32), many]))

    def a_priority(self) -> None:
        value = self.chance.choice([0, 0x10, 0x40, 0x80, 0xA0, 0xFF, self.chance.getrandbits(8)])
        self.distributor.write(0x400 + self.chance.randrange(96), value, 1)

    def triggers(self) -> None:
        self.distributor.write(
            0xC00 + 4 * self.chance.randrange(2, 6), self.chance.getrandbits(32) & 0xAAAA_AAAA
        )

    def an_sgi(self) -> None:
        number = self.chance.randrange(16)
        if self.chance.random() < 0.3:
            self.distributor.write(self.chance.choice([0xF10, 0xF20]) + number, 1, 1)
        else:
            kind = self.chance.choice([0, 1, 2])
            self.distributor.write(0xF00, kind << 24 | 1 << 16 | number)

    def controls(self) -> None:
        chance = self.chance
        match chance.randrange(4):
            case 0:
                self.distributor.write(0, chance.choice([0, 3, 3, 3]))
            case 1:
                modes = [0, 3, 3, 3, 7, 7, 0xF, 0xB, 0x207, 0x17, 0x21F]
                self.interface.write(0, chance.choice(modes))
            case 2:
                self.interface.write(4, chance.choice([0xFF, 0xFF, 0xFF, 0xF0, 0x80, 0x40, 0]))
            case 3:
                self.interface.write(chance.choice([8, 0x1C]), chance.randrange(8))

    def an_input(self) -> None:
        number, level = self.chance.randrange(64), self.chance.random() < 0.5
        self.qemu.drive(GIC, number, level)
        self.gicd[32 + number](level)

    def acknowledge(self) -> None:
        ours, theirs = self.interface.read(0xC)
        assert ours == theirs or (ours, theirs) == (1023, 1022)
        self.handled = ours if ours < 1020 else self.handled

    def end(self) -> None:
        number = self.chance.choice([self.handled, self.chance.randrange(64)])
        self.interface.write(0x10, number)
        if self.chance.random() < 0.5:
            self.interface.write(0x1000, number)

    def agree(self) -> None:
        words = [register + 4 * n for register in self.WORDS for n in range(3)]
        self.distributor.agree(0, 4, *words, *(0xC00 + 4 * n for n in range(6)), 0xF10, 0xF20)
        self.distributor.agree(0x400 + 4 * self.chance.randrange(24))
        self.interface.agree(0, 4, 8, 0x14, 0x1C, *range(0xD0, 0xE0, 4), *range(0xE0, 0xF0, 4))
        ready, control, mask = self.gicd.ready(0), *(self.gicc.read(n, 4) for n in (0, 4))
        if control & 3 == 3 and (ready is None or ready.priority < mask):
            self.interface.agree(0x18)
        levels = self.qemu.levels
        assert self.gicc.irq[0].high == levels.get(IRQ, False)
        assert self.gicc.fiq[0].high == levels.get(FIQ, False)


@pytest.mark.parametrize("seed", range(4))
def test_a_gicv2(qemu: Qtest, seed: int) -> None:
    gic = Gic(qemu, seed)
    gic.distributor.agree(8, 0x800, 0x820, *range(0xFD0, 0x1000, 4))
    gic.interface.agree(0xFC)
    for _ in range(500):
        gic.step()
        gic.agree()


def test_a_pl011(qemu: Qtest) -> None:
    """But for the receiver, whose levels and timeout QEMU does not have."""
    chance, terminal = random.Random(1), Terminal()
    pair = Pair(qemu, UART, Pl011(terminal, VirtualClock()))
    pair.agree(*range(0, 0x4C, 4), *range(0xFE0, 0x1000, 4))
    for _ in range(300):
        offset = chance.choice([0, 4, 0x20, 0x24, 0x28, 0x2C, 0x34, 0x38, 0x44])
        value = chance.getrandbits(16) & (0x3F if offset == 0x34 else 0xFFFF)
        masks = {0x20: 0xFF, 0x28: 0x3F, 0x2C: 0xFE, 0x38: 0x7FF}
        pair.write(offset, value & masks.get(offset, 0xFFFF))
        pair.agree(0x18, 0x20, 0x24, 0x28, 0x2C, 0x30, 0x34, 0x38, 0x3C, 0x40)


def test_a_pl031(qemu: Qtest) -> None:
    """But for the time itself."""
    pair = Pair(qemu, RTC, Pl031(VirtualClock(wall_start_ns=10**18)))
    pair.agree(4, 0xC, 0x10, 0x14, 0x18, *range(0xFE0, 0x1000, 4))
    for offset, value in (
        (0x10, 1),
        (0xC, 0),
        (0x10, 3),
        (8, 1000),
        (4, 500),
        (0x1C, 1),
        (0x10, 0),
    ):
        pair.write(offset, value)
        pair.agree(4, 0xC, 0x10, 0x14, 0x18)
    now = pair.device.read(0, 4)
    pair.device.write(4, 4, now)
    qemu.write(RTC + 4, qemu.read(RTC))
    pair.agree(0x14, 0x18)


@pytest.mark.parametrize("seed", range(3))
def test_a_pl061(qemu: Qtest, seed: int) -> None:
    """But for interrupts by level, which in QEMU stay when the level has gone, and for changes of
    direction, after which QEMU goes on to show the old level."""
    chance, gpio = random.Random(seed), Pl061()
    pair = Pair(qemu, GPIO, gpio)
    pair.agree(*range(0, 0x424, 4), *range(0xFE0, 0x1000, 4))
    pair.write(0x400, chance.getrandbits(8))
    for _ in range(400):
        if chance.random() < 0.4:
            line, level = chance.randrange(8), chance.random() < 0.5
            qemu.drive(GPIO_PATH, line, level)
            gpio[line](level)
        else:
            offset = chance.choice([4 * chance.randrange(256), 0x408, 0x40C, 0x410, 0x41C])
            pair.write(offset, chance.getrandbits(8))
        pair.agree(0x3FC, 4 * chance.randrange(256), *range(0x400, 0x41C, 4), 0x420)
