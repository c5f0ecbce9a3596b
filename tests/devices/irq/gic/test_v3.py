"""GICv3 as conversations between CPUs and their controller (IHI 0069H)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bimetal.devices.irq.gic.v3_cpu import Gicv3CpuInterface, at
from bimetal.devices.irq.gic.v3_distributor import Gicv3Distributor
from bimetal.devices.irq.gic.v3_its import Gicv3Its
from bimetal.devices.irq.gic.v3_private import Gicv3Private
from bimetal.devices.irq.gic.v3_redistributor import Gicv3Redistributor
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace

CTLR, GROUP, ENABLE, PEND, ACTIVATE, PRIORITY, CONFIG, ROUTE = (
    0x0, 0x80, 0x100, 0x200, 0x300, 0x400, 0xC00, 0x6000,
)  # fmt: skip
PMR, IAR0, EOIR0, HPPIR0, BPR0, AP0R = at(4, 6, 0), *(at(12, 8, n) for n in range(5))
AP1R, DIR, RPR, SGI1R, ASGI1R, SGI0R = at(12, 9, 0), *(at(12, 11, n) for n in (1, 3, 5, 6, 7))
IAR1, EOIR1, HPPIR1, BPR1, ICTLR, _, IGRPEN0, IGRPEN1 = (at(12, 12, n) for n in range(8))
SPURIOUS = 1023
CBPR, EOI_MODE = 1, 2
RAM = 0x4000_0000


class Gic:
    """A GICv3 whose CPUs, of two clusters, take everything of group 1."""

    AFFINITIES = (0, 1, 2, 0x100)

    def __init__(self) -> None:
        self.ram, self.space = Ram("ram", 1 << 20), AddressSpace()
        self.space.add_memory(self.ram, RAM)
        self.privates = [Gicv3Private(cpu, each) for cpu, each in enumerate(self.AFFINITIES)]
        self.gicr = [Gicv3Redistributor(each, self.space, lpis=True) for each in self.privates]
        self.gicd = Gicv3Distributor(self.privates, 256, lpis=True)
        self.later: list[object] = []
        self.its = Gicv3Its(self.gicr, self.space, self.later.append)
        self.icc = [Gicv3CpuInterface(each) for each in self.privates]
        self.gicd.write(CTLR, 4, 3)
        for cpu in range(len(self.icc)):
            self.put(cpu, PMR, 0xFF)
            self.put(cpu, IGRPEN0, 1)
            self.put(cpu, IGRPEN1, 1)

    def put(self, cpu: int, offset: int, value: int) -> None:
        self.icc[cpu].write(offset, 8, value)

    def take(self, cpu: int = 0, offset: int = IAR1) -> int:
        return self.icc[cpu].read(offset, 8)

    def spi(self, number: int, *, priority: int = 0x80, route: int = 0, group: int = 1) -> None:
        """Enable an SPI."""
        self._bit(self.gicd, GROUP, number, group)
        self.gicd.write(PRIORITY + number, 1, priority)
        self.gicd.write(ROUTE + 8 * number, 8, route)
        self._bit(self.gicd, ENABLE, number, 1)

    def own(self, cpu: int, number: int, *, priority: int = 0x80, group: int = 1) -> None:
        """Enable an SGI or PPI."""
        self._bit(self.privates[cpu], GROUP, number, group)
        self.privates[cpu].write(PRIORITY + number, 1, priority)
        self._bit(self.privates[cpu], ENABLE, number, 1)

    @staticmethod
    def _bit(device: Gicv3Distributor | Gicv3Private, row: int, number: int, bit: int) -> None:
        offset, place = row + number // 32 * 4, number % 32
        device.write(offset, 4, device.read(offset, 4) & ~(1 << place) | bit << place)

    def irqs(self) -> list[bool]:
        return [each.irq.high for each in self.icc]

    def fiqs(self) -> list[bool]:
        return [each.fiq.high for each in self.icc]


@pytest.fixture
def gic() -> Iterator[Gic]:
    made = Gic()
    yield made
    made.ram.close()


def test_what_it_says_of_itself(gic: Gic) -> None:
    assert gic.gicd.read(4, 4) & 0x1F == 8
    assert gic.gicd.read(0xFFE8, 4) >> 4 == 3
    assert gic.gicr[3].read(8, 8) == 0x100 << 32 | 1 << 24 | 3 << 8 | 1 << 4 | 1
    assert gic.take(0, ICTLR) == 4 << 8 | 1 << 15
    assert "IAR1" in Gicv3CpuInterface.describe()


def test_a_level_from_rise_to_end(gic: Gic) -> None:
    gic.spi(33)
    gic.gicd[33](True)
    assert gic.irqs() == [True, False, False, False]
    assert gic.take(0, HPPIR1) == 33
    assert gic.take() == 33
    assert not any(gic.irqs())
    assert (gic.take(0, RPR), gic.take(0, AP1R)) == (0x80, 1 << 16)
    gic.put(0, EOIR1, 33)
    assert gic.irqs()[0], "it is high still"
    assert gic.take() == 33
    gic.gicd[33](False)
    gic.put(0, EOIR1, 33)
    assert not any(gic.irqs())
    assert gic.take() == SPURIOUS
    assert gic.take(0, RPR) == 0xFF


def test_an_spi_goes_to_the_cpu_of_its_affinity(gic: Gic) -> None:
    gic.spi(40, route=0x100)
    gic.gicd[40](True)
    assert gic.irqs() == [False, False, False, True]
    gic.gicd.write(ROUTE + 8 * 40, 4, 1)
    assert gic.irqs() == [False, True, False, False]
    gic.gicd.write(ROUTE + 8 * 40 + 4, 4, 1)
    assert not any(gic.irqs()), "nobody has that affinity"
    gic.gicd.write(ROUTE + 8 * 40, 8, 1 << 31 | 2)
    assert gic.gicd.read(ROUTE + 8 * 40, 8) == 2, "there is no 'any CPU'"
    assert gic.irqs() == [False, False, True, False]


def test_a_ppi_is_its_cpus(gic: Gic) -> None:
    gic.own(1, 27)
    gic.privates[1].input(27)(True)
    gic.privates[0].input(27)(True)
    assert gic.irqs() == [False, True, False, False]
    assert gic.take(1) == 27


@pytest.mark.parametrize(
    ("written", "receivers"),
    [
        (0b101, [0, 2]),
        (1 << 16 | 0b11, [3]),
        (1 << 40, [0, 2, 3]),
        (0, []),
        (0xFF << 32 | 1, []),
        (1 << 44 | 1, []),
    ],
)
def test_sgis_by_affinity(gic: Gic, written: int, receivers: list[int]) -> None:
    for cpu in range(4):
        gic.own(cpu, 5)
    gic.put(1, SGI1R, 5 << 24 | written)
    assert [cpu for cpu, high in enumerate(gic.irqs()) if high] == receivers
    for cpu in receivers:
        assert gic.take(cpu) == 5


def test_sgis_are_of_a_group(gic: Gic) -> None:
    gic.own(0, 1, group=0)
    gic.put(1, SGI1R, 1 << 24 | 1)
    assert not any((*gic.irqs(), *gic.fiqs()))
    gic.put(1, SGI0R, 1 << 24 | 1)
    assert (gic.irqs()[0], gic.fiqs()[0]) == (False, True)
    assert (gic.take(0, IAR1), gic.take(0, IAR0)) == (SPURIOUS, 1)
    assert gic.take(0, AP0R) == 1 << 16
    gic.put(0, EOIR1, 1)
    assert gic.take(0, RPR) == 0x80, "the end of another group ends nothing"
    gic.put(0, EOIR0, 1)
    assert gic.take(0, RPR) == 0xFF


def test_urgent_ones_interrupt_others(gic: Gic) -> None:
    for number, priority in ((33, 0xA0), (34, 0x80), (35, 0x88), (36, 0x40)):
        gic.spi(number, priority=priority)
    gic.gicd[33](True)
    assert gic.take() == 33
    gic.gicd[34](True)
    assert gic.irqs()[0]
    assert gic.take() == 34
    gic.gicd[35](True)
    assert not gic.irqs()[0]
    assert (gic.take(), gic.take(0, HPPIR1)) == (SPURIOUS, 35)
    gic.put(0, PMR, 0x40)
    gic.gicd[36](True)
    assert not gic.irqs()[0], "masked"
    gic.put(0, PMR, 0x48)
    assert gic.take() == 36
    assert gic.take(0, AP1R) == 1 << 20 | 1 << 16 | 1 << 8
    for number in (36, 34, 33):
        gic.gicd[number](False)
        gic.put(0, EOIR1, number)
    assert gic.take(0, RPR) == 0xFF


def test_the_binary_points(gic: Gic) -> None:
    assert (gic.take(0, BPR0), gic.take(0, BPR1)) == (2, 3)
    gic.put(0, BPR0, 0)
    gic.put(0, BPR1, 0)
    assert (gic.take(0, BPR0), gic.take(0, BPR1)) == (2, 3)
    gic.put(0, BPR1, 5)
    gic.spi(33, priority=0xA0)
    gic.spi(34, priority=0x88)
    gic.spi(35, priority=0x80)
    gic.gicd[33](True)
    assert gic.take() == 33
    gic.gicd[34](True)
    assert gic.take() == 34, "another level: 0x80 to 0x9f"
    gic.gicd[35](True)
    assert gic.take() == SPURIOUS, "of the same level"
    gic.put(0, ICTLR, CBPR)
    assert gic.take(0, BPR1) == 3
    assert gic.take(0, AP1R) == 1 << 20 | 1 << 16, "levels of 32 priorities"
    gic.put(0, BPR1, 7)
    gic.put(0, ICTLR, 0)
    assert gic.take(0, BPR1) == 5, "writes were ignored"


def test_end_and_deactivation_apart(gic: Gic) -> None:
    gic.put(0, ICTLR, EOI_MODE)
    gic.spi(33)
    gic.gicd[33](True)
    assert gic.take() == 33
    gic.put(0, EOIR1, 33)
    assert gic.take(0, RPR) == 0xFF
    assert not gic.irqs()[0], "active"
    gic.put(0, DIR, 33)
    assert gic.irqs()[0]


def test_groups_are_enabled_there_and_here(gic: Gic) -> None:
    gic.spi(33, group=1)
    gic.spi(34, group=0, priority=0x10)
    gic.gicd[33](True)
    gic.gicd[34](True)
    assert (gic.irqs()[0], gic.fiqs()[0]) == (False, True)
    gic.put(0, IGRPEN0, 0)
    assert (gic.irqs()[0], gic.fiqs()[0]) == (True, False)
    gic.put(0, IGRPEN0, 1)
    gic.gicd.write(CTLR, 4, 2)
    assert (gic.irqs()[0], gic.fiqs()[0]) == (True, False)


def test_what_is_no_interrupt_ends_nothing(gic: Gic) -> None:
    gic.spi(33)
    gic.gicd[33](True)
    assert gic.take() == 33
    for number in (1020, 1023):
        gic.put(0, EOIR1, number)
    assert gic.take(0, RPR) == 0x80
    gic.put(0, EOIR1, 5000)
    assert gic.take(0, RPR) == 0xFF, "which number ends is not looked at"
    gic.put(0, EOIR1, 33)
    assert len(gic.icc[0].events.counts) == 1


def test_saved_and_restored(gic: Gic) -> None:
    gic.spi(33)
    gic.own(0, 3, priority=0x40)
    gic.gicd[33](True)
    assert gic.take() == 33
    gic.put(0, SGI1R, 3 << 24 | 1)
    everything = [gic.gicd, *gic.privates, *gic.gicr, *gic.icc, gic.its]
    states = [device.save() for device in everything]
    for device in everything:
        device.reset()
    assert not any(gic.irqs())
    for device, state in zip(everything, states, strict=True):
        device.load(state)
    assert gic.take() == 3
    assert gic.take(0, RPR) == 0x40


# LPIs


CONFIGURATION, PENDING, QUEUE, DEVICES, COLLECTIONS, EVENTS = (
    RAM + offset for offset in (0x1_0000, 0x2_0000, 0x8_0000, 0x9_0000, 0xA_0000, 0xB_0000)
)
VALID = 1 << 63
MAPD, MAPC, MAPTI, MOVI, INT, INV, MOVALL = 8, 9, 10, 1, 3, 12, 14


class Translated(Gic):
    """A GIC with LPIs and tables, event 0 to 3 of device 7 being LPIs 8192 to 8195 of CPU 0."""

    def __init__(self) -> None:
        super().__init__()
        self.queued = 0
        self.space.write(CONFIGURATION, bytes((0xA1, 0x81, 0x41, 0x40)))
        for cpu, each in enumerate(self.gicr):
            each.write(0x70, 8, CONFIGURATION | 15)
            each.write(0x78, 8, PENDING + 0x1_0000 * cpu)
            each.write(0, 4, 1)
        for offset, value in ((0x80, QUEUE), (0x100, DEVICES), (0x108, COLLECTIONS)):
            self.its.write(offset, 8, VALID | value)
        self.its.write(0, 4, 1)
        for cpu in range(4):
            self.command(MAPC, 0, VALID | cpu << 16 | cpu)
        self.command(MAPD | 7 << 32, 1, VALID | EVENTS)
        for event in range(4):
            self.command(MAPTI | 7 << 32, 8192 + event << 32 | event, 0)

    def command(self, *words: int) -> None:
        self.queue(*words)
        self.its.write(0x88, 8, self.queued)

    def queue(self, *words: int) -> None:
        data = b"".join(word.to_bytes(8, "little") for word in (*words, 0, 0, 0, 0)[:4])
        self.space.write(QUEUE + self.queued, data)
        self.queued = (self.queued + 32) % 0x1000


@pytest.fixture
def translated() -> Iterator[Translated]:
    made = Translated()
    yield made
    made.ram.close()


def test_a_message_is_an_lpi(translated: Translated) -> None:
    gic = translated
    gic.its.message(7, 1)
    assert gic.irqs() == [True, False, False, False]
    assert gic.space.read(PENDING + 1024, 1) == b"\x02"
    assert gic.take(0, HPPIR1) == 8193
    assert gic.take() == 8193
    assert not gic.irqs()[0]
    assert gic.take(0, RPR) == 0x80
    gic.its.message(7, 1)
    gic.its.message(7, 0)
    assert not gic.irqs()[0]
    gic.put(0, EOIR1, 8193)
    assert gic.take() == 8193
    gic.put(0, EOIR1, 8193)
    assert gic.take() == 8192
    assert gic.space.read(PENDING + 1024, 1) == b"\0"


def test_what_is_not_enabled_waits_until_it_is(translated: Translated) -> None:
    gic = translated
    gic.its.message(7, 3)
    assert not gic.irqs()[0]
    gic.space.write(CONFIGURATION + 3, b"\x41")
    assert not gic.irqs()[0], "nobody has said so"
    gic.command(INV | 7 << 32, 3)
    assert gic.take() == 8195


def test_what_is_pending_moves(translated: Translated) -> None:
    gic = translated
    gic.its.message(7, 0)
    gic.its.message(7, 2)
    gic.command(MOVI | 7 << 32, 0, 3)
    assert gic.irqs() == [True, False, False, True]
    gic.command(MOVALL, 0, 0 << 16, 2 << 16)
    assert gic.irqs() == [False, False, True, True]
    assert (gic.take(2), gic.take(3)) == (8194, 8192)


def test_what_was_pending_in_memory_waits_once_lpis_are_enabled(translated: Translated) -> None:
    gic = translated
    gic.its.message(7, 0)
    gic.gicr[0].write(0, 4, 0)
    assert not gic.irqs()[0]
    gic.its.message(7, 1)
    assert gic.space.read(PENDING + 1024, 1) == b"\x01", "the second is lost"
    gic.gicr[0].write(0, 4, 1)
    assert gic.take() == 8192
    gic.its.message(7, 0)
    gic.gicr[0].write(0, 4, 0)
    gic.gicr[0].write(0x78, 8, 1 << 62 | PENDING)
    gic.gicr[0].write(0, 4, 1)
    assert not gic.irqs()[0], "the table is said to be empty"


def test_a_table_of_pages(translated: Translated) -> None:
    gic = translated
    gic.its.write(0, 4, 0)
    gic.its.write(0x100, 8, VALID | 1 << 62 | DEVICES)
    gic.its.write(0, 4, 1)
    gic.command(MAPD | 600 << 32, 1, VALID | EVENTS)
    gic.its.message(600, 0)
    assert not gic.irqs()[0], "its page is not there"
    gic.space.write(DEVICES + 8, (VALID | DEVICES + 0x1000).to_bytes(8, "little"))
    gic.command(MAPD | 600 << 32, 1, VALID | EVENTS)
    gic.its.message(600, 0)
    assert gic.take() == 8192


def test_a_long_row_of_commands_is_carried_out_in_pieces(translated: Translated) -> None:
    gic = translated
    gic.its.write(0, 4, 0)
    gic.its.write(0x88, 8, 0)
    gic.its.write(0x80, 8, VALID | 0xF | QUEUE)
    gic.its.write(0, 4, 1)
    for number in range(300):
        data = (INT | 7 << 32).to_bytes(8, "little") + (number % 3).to_bytes(24, "little")
        gic.space.write(QUEUE + 32 * number, data)
    gic.its.write(0x88, 8, 300 * 32)
    assert gic.its.read(0x90, 8) == 256 * 32
    assert not gic.its.read(0, 4) >> 31, "it is not quiescent"
    [rest] = gic.later
    assert callable(rest)
    rest()
    assert gic.its.read(0x90, 8) == 300 * 32
    assert gic.its.read(0, 4) >> 31


HOSTILE = [
    (0x80, VALID | 0xFFFF_FFFF_F000),
    (0x100, VALID | 0xFFFF_FFFF_0000),
    (0x108, VALID | 0xFFFF_FFFF_0000),
    (0x100, VALID | 1 << 62 | 0xFFFF_FFFF_0000),
    (0x100, 0),
    (0x108, 0),
    (0x80, 0),
]


@pytest.mark.parametrize(("offset", "value"), HOSTILE)
def test_tables_that_are_nowhere_do_no_harm(
    translated: Translated, offset: int, value: int
) -> None:
    gic = translated
    gic.its.write(0, 4, 0)
    gic.its.write(offset, 8, value)
    gic.its.write(0, 4, 1)
    for opcode in range(256):
        gic.command(opcode | 7 << 32, 0, VALID | 0xFFFF_FFFF_FFFF)
    gic.its.message(7, 0)
    gic.its.write(0x88, 8, 0xF_FFE0)
    gic.its.read(0x90, 8)


def test_tables_of_lpis_that_are_nowhere_do_no_harm(translated: Translated) -> None:
    gic = translated
    for base, pending in ((0xFFFF_FFFF_F00F, PENDING), (CONFIGURATION | 15, 0xF_FFFF_FFFF_0000)):
        gic.gicr[0].write(0, 4, 0)
        gic.gicr[0].write(0x70, 8, base)
        gic.gicr[0].write(0x78, 8, pending)
        gic.gicr[0].write(0, 4, 1)
        gic.its.message(7, 0)
        gic.take()


def test_damaged_tables_do_no_harm(translated: Translated) -> None:
    """The guest can write whatever it likes to them."""
    gic = translated
    for table in (DEVICES, COLLECTIONS, EVENTS):
        kept = gic.space.read(table, 0x100)
        for entry in (0, 1, (1 << 64) - 1, VALID | 0xFFFF, VALID, 1 << 62):
            gic.space.write(table, entry.to_bytes(8, "little") * 32)
            gic.its.message(7, 0)
            for opcode in range(16):
                gic.command(opcode | 7 << 32, 0, VALID)
            gic.space.write(table, kept)
