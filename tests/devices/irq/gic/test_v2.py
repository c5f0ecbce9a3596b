"""GICv2 as conversations between CPUs and their controller (IHI 0048B)."""

from __future__ import annotations

import pytest

from bimetal.devices.irq.gic.v2_cpu import Gicv2CpuInterface
from bimetal.devices.irq.gic.v2_distributor import Gicv2Distributor
from bimetal.devices.irq.gic.v2m import Gicv2m
from bimetal.memory.initiator import Initiator

CTLR, TYPER, GROUP, ENABLE, DISABLE, PEND, UNPEND = 0x0, 0x4, 0x80, 0x100, 0x180, 0x200, 0x280
ACTIVATE, DEACTIVATE, PRIORITY, TARGET, CONFIG = 0x300, 0x380, 0x400, 0x800, 0xC00
SGI, CPEND, SPEND = 0xF00, 0xF10, 0xF20
C_CTLR, PMR, BPR, IAR, EOIR, RPR, HPPIR, ABPR, AIAR, AEOIR, AHPPIR = range(0, 0x2C, 4)
APR, NSAPR, DIR = 0xD0, 0xE0, 0x1000
SPURIOUS, OF_GROUP_1 = 1023, 1022
OTHERS, SELF = 1 << 24, 2 << 24


class Gic:
    """A GICv2 whose CPUs take everything, and the words in which they talk to it."""

    def __init__(self, cpus: int = 4):
        self.initiator = Initiator()
        self.gicd = Gicv2Distributor(cpus, 256, self.initiator)
        self.gicc = Gicv2CpuInterface(self.gicd)
        self.set(CTLR, 3)
        for cpu in range(cpus):
            self.put(cpu, C_CTLR, 3)
            self.put(cpu, PMR, 0xFF)

    def set(self, offset: int, value: int, cpu: int = 0, size: int = 4) -> None:
        self.initiator.cpu = cpu
        self.gicd.write(offset, size, value)

    def get(self, offset: int, cpu: int = 0, size: int = 4) -> int:
        self.initiator.cpu = cpu
        return self.gicd.read(offset, size)

    def put(self, cpu: int, offset: int, value: int) -> None:
        self.initiator.cpu = cpu
        self.gicc.write(offset, 4, value)

    def take(self, cpu: int, offset: int = IAR) -> int:
        self.initiator.cpu = cpu
        return self.gicc.read(offset, 4)

    def spi(self, number: int, *, priority: int = 0x80, cpus: int = 1, edge: bool = False) -> None:
        """Enable an SPI."""
        self.set(PRIORITY + number, priority, size=1)
        self.set(TARGET + number, cpus, size=1)
        config = CONFIG + number // 16 * 4
        self.set(config, self.get(config) & ~(2 << number % 16 * 2) | edge << number % 16 * 2 + 1)
        self.set(ENABLE + number // 32 * 4, 1 << number % 32)

    def irqs(self) -> list[bool]:
        return [line.high for line in self.gicc.irq]

    def fiqs(self) -> list[bool]:
        return [line.high for line in self.gicc.fiq]


@pytest.fixture
def gic() -> Gic:
    return Gic()


def test_what_it_says_of_itself(gic: Gic) -> None:
    assert gic.get(TYPER) == 3 << 5 | 8
    assert gic.get(0xFE8) >> 4 == 2
    assert gic.take(0, 0xFC) == 0x0002_043B
    assert "IPRIORITYR" in Gicv2Distributor.describe()


def test_a_level_from_rise_to_end(gic: Gic) -> None:
    gic.spi(33)
    gic.gicd[33](True)
    assert gic.irqs() == [True, False, False, False]
    assert gic.take(0, HPPIR) == 33
    assert gic.take(0) == 33
    assert gic.irqs()[0] is False, "active, so it interrupts nobody"
    assert (gic.take(0), gic.take(0, RPR)) == (SPURIOUS, 0x80)
    gic.put(0, EOIR, 33)
    assert gic.irqs()[0], "still high"
    assert gic.take(0) == 33
    gic.gicd[33](False)
    gic.put(0, EOIR, 33)
    assert not gic.irqs()[0]
    assert gic.take(0, RPR) == 0xFF


def test_an_edge_is_remembered_once(gic: Gic) -> None:
    gic.spi(40, edge=True)
    for level in (True, False, True, False):
        gic.gicd[40](level)
    assert gic.take(0) == 40
    gic.gicd[40](True)
    assert gic.get(PEND + 4) == gic.get(ACTIVATE + 4) == 1 << 8
    gic.put(0, EOIR, 40)
    assert gic.take(0) == 40
    gic.put(0, EOIR, 40)
    assert not gic.irqs()[0], "high, but no edge"


def test_a_level_that_goes_before_it_is_taken_was_nothing(gic: Gic) -> None:
    gic.spi(33)
    gic.gicd[33](True)
    gic.gicd[33](False)
    assert not gic.irqs()[0]
    assert gic.take(0) == SPURIOUS


def test_the_most_urgent_is_first_and_the_lowest_number_among_equals(gic: Gic) -> None:
    for number, priority in ((70, 0x20), (50, 0x40), (35, 0x40), (60, 0x10)):
        gic.spi(number, priority=priority)
        gic.gicd[number](True)
    taken = []
    while (number := gic.take(0)) != SPURIOUS:
        taken.append(number)
        gic.gicd[number](False)
        gic.put(0, EOIR, number)
    assert taken == [60, 70, 35, 50]


def test_only_what_is_more_urgent_than_the_mask(gic: Gic) -> None:
    gic.spi(33, priority=0x80)
    gic.gicd[33](True)
    gic.put(0, PMR, 0x80)
    assert not gic.irqs()[0]
    assert (gic.take(0), gic.take(0, HPPIR)) == (SPURIOUS, 33)
    gic.put(0, PMR, 0x81)
    assert gic.irqs()[0]


@pytest.mark.parametrize(("point", "nested"), [(0, True), (4, True), (5, False), (7, False)])
def test_the_binary_point_says_who_interrupts_whom(gic: Gic, point: int, nested: bool) -> None:
    gic.put(0, BPR, point)
    gic.spi(33, priority=0x60)
    gic.spi(34, priority=0x40)
    gic.gicd[33](True)
    assert gic.take(0) == 33
    gic.gicd[34](True)
    assert gic.irqs()[0] is nested
    assert gic.take(0) == (34 if nested else SPURIOUS)
    if nested:
        assert gic.take(0, RPR) == 0x40
        gic.put(0, EOIR, 34)
        assert gic.take(0, RPR) == 0x60


def test_dropping_the_priority_and_deactivating_apart(gic: Gic) -> None:
    gic.put(0, C_CTLR, 3 | 1 << 9)
    gic.spi(33)
    gic.spi(34)
    gic.gicd[33](True)
    assert gic.take(0) == 33
    gic.put(0, EOIR, 33)
    assert gic.get(ACTIVATE + 4) == 1 << 1, "the end has only dropped the priority"
    gic.gicd[34](True)
    assert gic.take(0) == 34
    gic.put(0, EOIR, 34)
    gic.put(0, DIR, 33)
    assert gic.get(ACTIVATE + 4) == 1 << 2
    assert gic.irqs()[0], "33 is high"


def test_deactivating_where_the_end_does_that_is_an_error(gic: Gic) -> None:
    gic.spi(33)
    gic.gicd[33](True)
    gic.take(0)
    gic.put(0, DIR, 33)
    assert gic.get(ACTIVATE + 4) == 1 << 1
    assert len(gic.gicc.events.counts) == 1


def test_an_spi_goes_to_the_cpus_that_are_its_targets(gic: Gic) -> None:
    gic.spi(33, cpus=0b0110)
    gic.gicd[33](True)
    assert gic.irqs() == [False, True, True, False]
    assert gic.take(2) == 33
    assert gic.irqs() == [False] * 4
    assert gic.take(1) == SPURIOUS
    assert gic.get(TARGET + 32) == 0b0110 << 8


def test_a_cpu_finds_out_who_it_is(gic: Gic) -> None:
    assert [gic.get(TARGET, cpu) for cpu in range(4)] == [0x0101_0101 << cpu for cpu in range(4)]


def test_one_cpu_is_the_target_of_all() -> None:
    gic = Gic(cpus=1)
    gic.spi(33, cpus=0)
    assert gic.get(TARGET) == gic.get(TARGET + 32) == 0
    gic.gicd[33](True)
    assert gic.take(0) == 33


def test_private_interrupts_are_each_cpus_own(gic: Gic) -> None:
    gic.set(ENABLE, 1 << 27, cpu=1)
    gic.set(PRIORITY + 27, 0x40, cpu=1, size=1)
    for cpu in (0, 1):
        gic.gicd.private(cpu, 27)(True)
    assert gic.irqs() == [False, True, False, False]
    assert [gic.get(PEND, cpu) for cpu in range(3)] == [1 << 27, 1 << 27, 0]
    assert [gic.get(PRIORITY + 27, cpu, 1) for cpu in range(3)] == [0, 0x40, 0]
    assert gic.take(1) == 27


def test_sgis_by_sender(gic: Gic) -> None:
    gic.set(SGI, 0b0100 << 16 | 5, cpu=0)
    gic.set(SGI, 0b0100 << 16 | 5, cpu=3)
    assert gic.irqs() == [False, False, True, False]
    assert gic.get(SPEND + 4, cpu=2) == 0b1001 << 8
    assert gic.take(2) == 5
    assert not gic.irqs()[2], "the same SGI is active"
    gic.put(2, EOIR, 5)
    assert gic.take(2) == 3 << 10 | 5
    gic.put(2, EOIR, 3 << 10 | 5)
    assert gic.take(2) == SPURIOUS


@pytest.mark.parametrize(
    ("request_", "targets"),
    [
        (0b1010 << 16, [1, 3]),
        (OTHERS, [0, 1, 3]),
        (OTHERS | 0xFF << 16, [0, 1, 3]),
        (SELF, [2]),
        (0xF0 << 16, []),
        (3 << 24, []),
    ],
)
def test_whom_an_sgi_reaches(gic: Gic, request_: int, targets: list[int]) -> None:
    gic.set(SGI, request_ | 9, cpu=2)
    assert gic.irqs() == [cpu in targets for cpu in range(4)]


def test_sgis_are_pended_and_taken_back_by_sender(gic: Gic) -> None:
    gic.set(SPEND + 8, 0b0011_0000_0000, cpu=1)
    assert gic.get(PEND, cpu=1) == 1 << 9
    gic.set(CPEND + 9, 0b0001, cpu=1, size=1)
    assert gic.irqs()[1]
    gic.set(UNPEND, 0xFFFF, cpu=1)
    assert gic.irqs()[1], "only by the sender"
    gic.set(CPEND + 9, 0b0010, cpu=1, size=1)
    assert not gic.irqs()[1]
    gic.set(PEND, 0xFFFF, cpu=1)
    assert gic.get(PEND, cpu=1) == 0


def test_sgis_are_always_enabled_and_edges(gic: Gic) -> None:
    gic.set(DISABLE, 0xFFFF_FFFF)
    assert gic.get(ENABLE) == 0xFFFF
    gic.set(CONFIG, 0)
    assert gic.get(CONFIG) == 0xAAAA_AAAA


def test_group_1_has_registers_of_its_own(gic: Gic) -> None:
    gic.spi(33)
    gic.set(GROUP + 4, 1 << 1)
    gic.gicd[33](True)
    assert gic.irqs()[0]
    assert (gic.take(0), gic.take(0, HPPIR)) == (OF_GROUP_1, OF_GROUP_1)
    assert gic.take(0, AHPPIR) == 33
    assert gic.take(0, AIAR) == 33
    assert (gic.take(0, APR + 8), gic.take(0, NSAPR + 8)) == (0, 1)
    gic.put(0, AEOIR, 33)
    gic.put(0, C_CTLR, 3 | 1 << 2)
    assert gic.take(0) == 33, "AckCtl"


def test_group_0_as_fiq(gic: Gic) -> None:
    gic.put(0, C_CTLR, 3 | 1 << 3)
    for number in (33, 34):
        gic.spi(number)
    gic.set(GROUP + 4, 1 << 2)
    gic.gicd[34](True)
    assert (gic.irqs()[0], gic.fiqs()[0]) == (True, False)
    gic.gicd[33](True)
    assert (gic.irqs()[0], gic.fiqs()[0]) == (False, True)
    assert gic.take(0, AIAR) == SPURIOUS
    assert gic.take(0) == 33


def test_group_1_has_a_binary_point_of_its_own_unless_they_share(gic: Gic) -> None:
    gic.set(GROUP + 4, 0xFFFF_FFFF)
    gic.put(0, BPR, 7)
    gic.put(0, ABPR, 0)
    assert gic.take(0, ABPR) == 1, "no lower one is there"
    for number, priority in ((33, 0x82), (34, 0x80)):
        gic.spi(number, priority=priority)
    gic.gicd[33](True)
    assert gic.take(0, AIAR) == 33
    gic.gicd[34](True)
    assert gic.irqs()[0]
    gic.put(0, C_CTLR, 3 | 1 << 4)
    assert not gic.irqs()[0]


@pytest.mark.parametrize(("enables", "taken"), [(0, SPURIOUS), (1, 33), (2, OF_GROUP_1), (3, 33)])
def test_groups_that_the_distributor_holds_back(gic: Gic, enables: int, taken: int) -> None:
    for number in (33, 34):
        gic.spi(number)
        gic.gicd[number](True)
    gic.set(GROUP + 4, 1 << 2)
    gic.set(CTLR, enables)
    assert gic.irqs()[0] is bool(enables)
    assert gic.take(0, HPPIR) == taken
    assert gic.take(0) == taken


def test_a_group_that_the_cpu_has_not_enabled(gic: Gic) -> None:
    gic.spi(33)
    gic.gicd[33](True)
    gic.put(0, C_CTLR, 2)
    assert not gic.irqs()[0]
    assert gic.take(0, HPPIR) == gic.take(0) == SPURIOUS


def test_the_state_of_an_interrupt_can_be_set(gic: Gic) -> None:
    gic.spi(33)
    gic.set(PEND + 4, 1 << 1)
    assert gic.irqs()[0]
    gic.set(ACTIVATE + 4, 1 << 1)
    assert not gic.irqs()[0]
    gic.set(DEACTIVATE + 4, 1 << 1)
    assert gic.irqs()[0]
    gic.set(UNPEND + 4, 1 << 1)
    assert not gic.irqs()[0]
    gic.gicd[33](True)
    gic.set(UNPEND + 4, 1 << 1)
    assert gic.irqs()[0], "the level is what it is"


@pytest.mark.parametrize("number", [1023, 1022, 1020, 300, 33, 5])
def test_ending_what_was_not_taken_changes_nothing(gic: Gic, number: int) -> None:
    gic.spi(34)
    before = gic.gicd.save(), gic.gicc.save()
    gic.put(0, EOIR, number)
    assert (gic.gicd.save(), gic.gicc.save()) == before


def test_what_is_not_there_stays_zero() -> None:
    gic = Gic(cpus=1)
    small = Gicv2Distributor(2, 32, gic.initiator)
    for offset in (ENABLE + 8, PRIORITY + 64, TARGET + 64, CONFIG + 16, GROUP + 8):
        small.write(offset, 4, 0xFFFF_FFFF)
        assert small.read(offset, 4) == 0
    small.write(TARGET + 32, 4, 0xFFFF_FFFF)
    assert small.read(TARGET + 32, 4) == 0x0303_0303


def test_a_byte_of_a_word(gic: Gic) -> None:
    gic.set(GROUP + 4, 0x1234_5678)
    gic.set(GROUP + 5, 0xFF, size=1)
    assert gic.get(GROUP + 4) == 0x1234_FF78
    gic.set(ENABLE + 6, 0x80, size=1)
    assert gic.get(ENABLE + 4) == 0x0080_0000
    gic.set(PRIORITY + 34, 0x4433, size=2)
    assert gic.get(PRIORITY + 32) == 0x4433_0000


def test_reset_and_snapshot(gic: Gic) -> None:
    gic.spi(33, cpus=0b10)
    gic.spi(34, cpus=0b10, priority=0x10)
    gic.set(SGI, 0b10 << 16 | 3, cpu=3)
    gic.gicd[33](True)
    gic.gicd[34](True)
    assert gic.take(1) == 3 << 10 | 3
    other = Gic()
    other.gicd.load(gic.gicd.save())
    other.gicc.load(gic.gicc.save())
    assert (other.gicd.save(), other.gicc.save()) == (gic.gicd.save(), gic.gicc.save())
    other.put(1, EOIR, 3 << 10 | 3)
    assert other.irqs() == [False, True, False, False]
    assert other.take(1) == 34
    gic.gicd.reset()
    gic.gicc.reset()
    assert gic.irqs() == [False] * 4
    assert gic.get(ENABLE + 4) == 0
    assert gic.get(PEND + 4) == 0b110, "their devices still drive them"


@pytest.mark.parametrize("number", [0, 31, 288])
def test_pins_exist_or_not(gic: Gic, number: int) -> None:
    with pytest.raises(IndexError, match="SPIs 32 to 287"):
        gic.gicd[number]


@pytest.mark.parametrize(("cpus", "spis"), [(0, 32), (9, 32), (1, 0), (1, 33), (1, 992)])
def test_sizes_that_cannot_be(cpus: int, spis: int) -> None:
    with pytest.raises(ValueError, match=r"CPUs|SPIs"):
        Gicv2Distributor(cpus, spis, Initiator())


def test_message_signalled_interrupts(gic: Gic) -> None:
    frame = Gicv2m(first=80, count=64)
    for number, output in enumerate(frame.spis):
        output.connect(gic.gicd[80 + number])
    gic.spi(81, edge=True)
    assert frame.read(0x8, 4) == 80 << 16 | 64
    frame.write(0x40, 4, 81)
    assert gic.take(0) == 81
    gic.put(0, EOIR, 81)
    assert not gic.irqs()[0]
    for number in (79, 144, 0xFFFF_FFFF):
        frame.write(0x40, 4, number)
    assert gic.get(PEND + 8) == 0
    assert len(frame.events.counts) == 3
