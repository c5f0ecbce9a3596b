"""The APLIC: modes of sources, claims, domains."""

from __future__ import annotations

import pytest

from bimetal.devices.irq.aplic import Aplic
from bimetal.devices.irq.aplic_direct import DirectAplic

DOMAIN, SOURCE, SETIP, SETIPNUM, INPUTS, CLRIPNUM = 0x0, 0x0, 0x1C00, 0x1CDC, 0x1D00, 0x1DDC
SETIE, SETIENUM, CLRIENUM, TARGET, HART = 0x1E00, 0x1EDC, 0x1FDC, 0x3000, 0x4000
DELIVERY, FORCE, THRESHOLD, TOP, CLAIM = 0x00, 0x04, 0x08, 0x18, 0x1C
INACTIVE, DETACHED, RISING, FALLING, HIGH, LOW = 0, 1, 4, 5, 6, 7
DELEGATED = 1 << 10


class Wired:
    """A domain for two harts with everything switched on, and the levels of its lines."""

    def __init__(self, child: Aplic | None = None, *, delegating: bool = False):
        self.aplic = DirectAplic(40, 2, child, delegating=delegating)
        self.lines = [False, False]
        for hart, line in enumerate(self.aplic.notify):
            line.connect(lambda level, hart=hart: self.lines.__setitem__(hart, level))  # type: ignore[misc]
        self.write(DOMAIN, 1 << 8)
        for hart in range(2):
            self.write(HART + 32 * hart + DELIVERY, 1)

    def write(self, offset: int, value: int) -> None:
        self.aplic.write(offset, 4, value)

    def read(self, offset: int) -> int:
        return self.aplic.read(offset, 4)

    def source(self, number: int, mode: int, priority: int = 5, hart: int = 0) -> None:
        """Use a source, enabled."""
        self.write(SOURCE + 4 * number, mode)
        self.write(TARGET + 4 * number, hart << 18 | priority)
        self.write(SETIENUM, number)


@pytest.fixture
def wired() -> Wired:
    return Wired()


def test_what_it_says_it_is(wired: Wired) -> None:
    assert wired.read(DOMAIN) == 0x8000_0100
    assert wired.aplic.mmio_size == 0x8000
    wired.write(DOMAIN, 0xFFFF_FFFF)
    assert wired.read(DOMAIN) == 0x8000_0100, "no messages, and little-endian"


def test_a_level_is_pending_as_long_as_it_is_high(wired: Wired) -> None:
    wired.source(3, HIGH)
    wired.aplic[3](True)
    assert wired.lines == [True, False]
    assert wired.read(HART + TOP) == wired.read(HART + CLAIM) == 3 << 16 | 5
    assert wired.lines == [True, False], "claimed, and still high"
    wired.write(CLRIPNUM, 3)
    assert wired.read(SETIP) == 8
    wired.aplic[3](False)
    assert (wired.lines, wired.read(HART + CLAIM)) == ([False, False], 0)
    wired.write(SETIPNUM, 3)
    assert wired.read(SETIP) == 0


def test_an_edge_is_pending_until_it_is_claimed(wired: Wired) -> None:
    wired.source(35, RISING, hart=1)
    wired.aplic[35](True)
    wired.aplic[35](False)
    assert wired.lines[1]
    assert wired.read(SETIP + 4) == 8
    assert wired.read(HART + 32 + CLAIM) == 35 << 16 | 5
    assert (any(wired.lines), wired.read(SETIP + 4)) == (False, 0)


def test_inverted_inputs(wired: Wired) -> None:
    wired.source(1, LOW)
    assert any(wired.lines), "low, and that is active"
    assert wired.read(INPUTS) == 2
    wired.aplic[1](True)
    assert not any(wired.lines)
    wired.source(2, FALLING)
    wired.aplic[2](True)
    assert not any(wired.lines)
    wired.aplic[2](False)
    assert wired.read(HART + CLAIM) >> 16 == 2


def test_a_detached_source_is_software_s_alone(wired: Wired) -> None:
    wired.source(4, DETACHED)
    wired.aplic[4](True)
    assert not wired.lines[0]
    wired.write(SETIPNUM, 4)
    assert wired.read(HART + CLAIM) >> 16 == 4
    wired.write(0x2004, 4 << 24)
    assert wired.read(HART + CLAIM) >> 16 == 4, "and by the other byte order"


def test_the_most_urgent_comes_first(wired: Wired) -> None:
    for number, priority in ((9, 7), (8, 7), (30, 2)):
        wired.source(number, HIGH, priority)
        wired.aplic[number](True)
    assert wired.read(HART + TOP) == 30 << 16 | 2
    wired.write(HART + THRESHOLD, 2)
    assert (wired.read(HART + TOP), wired.lines[0]) == (0, False)
    wired.write(HART + THRESHOLD, 0)
    wired.write(CLRIENUM, 30)
    assert wired.read(HART + TOP) == 8 << 16 | 7
    wired.write(TARGET + 4 * 8, 1 << 18 | 9)
    assert (wired.read(HART + TOP) >> 16, wired.read(HART + 32 + TOP) >> 16) == (9, 8)


def test_a_forced_interrupt(wired: Wired) -> None:
    wired.write(HART + FORCE, 1)
    assert wired.lines[0]
    assert wired.read(HART + CLAIM) == 0
    assert not any(wired.lines)


def test_an_inactive_source_has_nothing(wired: Wired) -> None:
    wired.source(5, RISING)
    wired.write(SETIPNUM, 5)
    wired.write(SOURCE + 4 * 5, INACTIVE)
    for word in (SETIP, SETIE, TARGET + 4 * 5):
        assert wired.read(word) == 0
    for number in (0, 5, 41, 1 << 20):
        wired.write(SETIPNUM, number)
        wired.write(SETIENUM, number)
    wired.write(SOURCE + 4 * 5, 3)
    assert (wired.read(SOURCE + 4 * 5), wired.read(SETIP), wired.read(SETIE)) == (0, 0, 0)


def test_a_delegated_source_is_the_child_s() -> None:
    child = Wired()
    parent = Wired(child.aplic)
    child.write(SOURCE + 4 * 6, HIGH)
    assert child.read(SOURCE + 4 * 6) == 0, "it was not delegated"
    parent.aplic[6](True)
    parent.write(SOURCE + 4 * 6, DELEGATED)
    child.source(6, HIGH)
    assert (child.lines[0], parent.lines[0]) == (True, False)
    parent.aplic[6](False)
    assert not child.lines[0]
    parent.write(SOURCE + 4 * 6, HIGH)
    assert child.read(SOURCE + 4 * 6) == 0


def test_all_is_delegated_where_there_is_no_firmware() -> None:
    child = Wired()
    parent = Wired(child.aplic, delegating=True)
    child.source(7, HIGH)
    parent.aplic[7](True)
    assert child.read(HART + CLAIM) >> 16 == 7
    for domain in (parent.aplic, child.aplic):
        domain.reset()
    assert parent.read(SOURCE + 4 * 7) == DELEGATED
    assert not child.lines[0]
