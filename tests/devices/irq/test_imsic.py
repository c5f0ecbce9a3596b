"""Interrupt files, and the APLIC's domains that send messages to them (RISC-V Advanced Interrupt
Architecture 1.0, chapters 3 and 4)."""

from __future__ import annotations

import pytest

from bimetal.devices.irq.aplic_messages import MessageAplic
from bimetal.devices.irq.imsic import Imsic, ImsicHart
from bimetal.devices.irq.messages import Message, taker

MIREG, MTOPEI, SIREG, STOPEI = 0x351, 0x35C, 0x151, 0x15C
DELIVERY, THRESHOLD, PENDING, ENABLED = 0x70, 0x72, 0x80, 0xC0
ALL = (1 << 64) - 1


class Files:
    """The interrupt files of two harts, with everything enabled, and the levels of their lines."""

    def __init__(self) -> None:
        self.machine, self.supervisor = Imsic(2), Imsic(2)
        self.harts = [ImsicHart(self.machine, self.supervisor, hart) for hart in range(2)]
        for hart in range(2):
            for window in (MIREG, SIREG):
                self.write(hart, window, 1, DELIVERY)
                for word in range(0, 8, 2):
                    self.write(hart, window, ALL, ENABLED + word)

    def lines(self) -> list[bool]:
        return [line.high for file in (self.machine, self.supervisor) for line in file.notify]

    def read(self, hart: int, csr: int, selected: int = 0) -> int:
        return self.harts[hart].read(8 * (csr | selected << 12), 8)

    def write(self, hart: int, csr: int, value: int, selected: int = 0) -> None:
        self.harts[hart].write(8 * (csr | selected << 12), 8, value)


@pytest.fixture
def files() -> Files:
    return Files()


def test_a_message_is_for_one_file(files: Files) -> None:
    files.supervisor.write(0x1000, 4, 77)
    assert files.lines() == [False, False, False, True]
    assert files.read(1, STOPEI) == 77 << 16 | 77
    assert files.read(1, MTOPEI) == files.read(0, STOPEI) == 0
    assert files.read(1, SIREG, PENDING + 2) == 1 << 13
    files.write(1, STOPEI, 0)
    assert files.lines() == [False] * 4


def test_functions_on_a_bus_send_messages(files: Files) -> None:
    device = taker(files.machine)
    assert device is not None
    device.take_message(0x12, 0x1000, 9)
    assert files.read(1, MTOPEI) == 9 << 16 | 9


@pytest.mark.parametrize("word", [0, 256, 1 << 16 | 5, 1 << 31, 0xFFFF_FFFF])
def test_identities_that_there_are_not(files: Files, word: int) -> None:
    files.machine.write(0, 4, word)
    assert files.machine.pending == [0, 0]


def test_other_places_of_a_page(files: Files) -> None:
    files.machine.write(4, 4, 5 << 24)
    files.machine.write(0x10, 4, 5)
    assert files.machine.pending == [0, 0]
    assert [files.machine.read(offset, 4) for offset in (0, 4, 0x10)] == [0, 0, 0]


def test_the_lowest_identity_comes_first_and_only_below_the_threshold(files: Files) -> None:
    for identity in (200, 5, 64):
        files.machine.write(0, 4, identity)
    files.write(0, MIREG, 64, THRESHOLD)
    assert files.read(0, MTOPEI) >> 16 == 5
    files.write(0, MTOPEI, ALL)
    assert files.read(0, MTOPEI) == 0, "64 is not below 64"
    assert files.lines()[0] is False
    files.write(0, MTOPEI, 0)
    files.write(0, MIREG, 0, THRESHOLD)
    assert files.read(0, MTOPEI) >> 16 == 64
    files.write(0, MIREG, 0, DELIVERY)
    assert files.read(0, MTOPEI) >> 16 == 64, "which delivery does not change"
    assert files.lines()[0] is False


@pytest.mark.parametrize("selected", [0x71, 0x73, 0x7F, PENDING + 8, PENDING + 62, ENABLED + 62])
def test_what_is_reserved_and_beyond_reads_as_zeros(files: Files, selected: int) -> None:
    files.write(0, MIREG, ALL, selected)
    assert files.read(0, MIREG, selected) == 0
    assert files.read(0, MTOPEI) == 0


def test_a_reset_empties_the_files(files: Files) -> None:
    files.machine.write(0, 4, 3)
    files.machine.reset()
    assert files.lines() == [False] * 4
    files.write(0, MIREG, 1, DELIVERY)
    assert [files.read(0, MIREG, number) for number in (PENDING, ENABLED, THRESHOLD)] == [0] * 3


# Domains that send messages

SOURCE, ADDRESSES, SETIP, SETIPNUM, INPUTS, CLRIPNUM = 0x0, 0x1BC0, 0x1C00, 0x1CDC, 0x1D00, 0x1DDC
SETIENUM, GENMSI, TARGET = 0x1EDC, 0x3000, 0x3000
DETACHED, RISING, HIGH, LOW = 1, 4, 6, 7
DELEGATED = 1 << 10
MINE, THEIRS = 0x2400_0000, 0x2_8000_0000


class Domains:
    """The domains of M-mode and of S-mode for four harts, and what they sent."""

    def __init__(self, pages: tuple[int, int] | None = None) -> None:
        self.child = MessageAplic(40, 4)
        self.root = MessageAplic(40, 4, self.child, pages=pages)
        self.sent: list[Message] = []
        for domain in (self.root, self.child):
            domain.message.connect(self.sent.append)
            domain.write(0, 4, 1 << 8)

    def take(self) -> list[tuple[int, int]]:
        sent = [(message.address, message.data) for message in self.sent]
        self.sent.clear()
        return sent


def use(domain: MessageAplic, number: int, mode: int, hart: int, identity: int) -> None:
    domain.write(SOURCE + 4 * number, 4, mode)
    domain.write(TARGET + 4 * number, 4, hart << 18 | identity)
    domain.write(SETIENUM, 4, number)


def test_the_way_of_delivery_is_fixed() -> None:
    domains = Domains()
    domains.root.write(0, 4, 0)
    assert domains.root.read(0, 4) == 0x8000_0004


def test_where_messages_go() -> None:
    """Two groups of two harts; the files of S-mode are four pages apart."""
    domains = Domains()
    shape = 1 << 12 | 1 << 16 | 4 << 24
    for index, word in enumerate((MINE >> 12, shape, THEIRS >> 12, 2 << 20)):
        domains.root.write(ADDRESSES + 4 * index, 4, word)
    for hart in range(4):
        use(domains.root, hart + 1, DETACHED, hart, 10 + hart)
        domains.root.write(SETIPNUM, 4, hart + 1)
    group = 1 << 4 + 24
    assert domains.take() == [
        (MINE, 10), (MINE + 0x1000, 11), (MINE | group, 12), (MINE | group | 0x1000, 13),
    ]  # fmt: skip
    domains.root.write(SOURCE + 4 * 9, 4, DELEGATED)
    use(domains.child, 9, DETACHED, 3, 99)
    domains.child.write(SETIPNUM, 4, 9)
    assert domains.take() == [(THEIRS | group | 0x4000, 99)]


def test_addresses_are_the_roots_and_can_be_locked() -> None:
    domains = Domains()
    domains.child.write(ADDRESSES, 4, 5)
    assert domains.child.read(ADDRESSES, 4) == 0
    domains.root.write(ADDRESSES + 4, 4, 0xFFFF_FFFF)
    assert domains.root.read(ADDRESSES + 4, 4) == 0x9F77_FFFF
    for index in range(4):
        domains.root.write(ADDRESSES + 4 * index, 4, 0x1234)
    words = [domains.root.read(ADDRESSES + 4 * index, 4) for index in range(4)]
    assert words == [0, 0x9F77_FFFF, 0, 0]


def test_without_firmware_all_is_set_up() -> None:
    domains = Domains((MINE, THEIRS))
    use(domains.child, 7, HIGH, 3, 20)
    domains.root[7](True)
    assert domains.take() == [(THEIRS + 0x3000, 20)]
    domains.root.reset()
    domains.child.reset()
    domains.child.write(0, 4, 1 << 8)
    use(domains.child, 7, HIGH, 1, 20)
    assert domains.take() == [(THEIRS + 0x1000, 20)], "it is still high"


def test_a_level_is_sent_once_and_again_when_asked() -> None:
    domains = Domains((MINE, THEIRS))
    use(domains.child, 7, HIGH, 0, 20)
    pin = domains.root[7]
    pin(True)
    pin(True)
    assert len(domains.take()) == 1
    assert domains.child.read(SETIP, 4) == 0
    domains.child.write(SETIPNUM, 4, 7)
    assert len(domains.take()) == 1
    pin(False)
    domains.child.write(SETIPNUM, 4, 7)
    assert domains.take() == []
    pin(True)
    assert len(domains.take()) == 1


def test_what_waits_for_the_domain() -> None:
    domains = Domains((MINE, THEIRS))
    domains.child.write(0, 4, 0)
    for number, mode in ((7, HIGH), (8, RISING), (9, LOW)):
        use(domains.child, number, mode, 0, number)
        domains.root[number](True)
    assert domains.child.read(SETIP, 4) == 1 << 7 | 1 << 8
    assert domains.child.read(INPUTS, 4) == 1 << 7 | 1 << 8
    domains.child.write(CLRIPNUM, 4, 7)
    assert domains.child.read(SETIP, 4) == 1 << 8
    domains.root[8](False)
    domains.root[9](False)
    domains.child.write(0, 4, 1 << 8)
    assert [data for _, data in domains.take()] == [8, 9]


def test_a_message_of_softwares_own() -> None:
    domains = Domains((MINE, THEIRS))
    domains.child.write(0, 4, 0)
    domains.child.write(GENMSI, 4, 2 << 18 | 1 << 12 | 33)
    assert domains.take() == [(THEIRS + 0x2000, 33)]
    assert domains.child.read(GENMSI, 4) == 2 << 18 | 33
