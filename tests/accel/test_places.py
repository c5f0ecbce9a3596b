"""Pages by their content: code that several vCPUs execute has one home."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from bimetal.accel.code_page import CodePage
from bimetal.accel.hotness import Spot
from bimetal.accel.places import Places
from bimetal.accel.tiered import TieredVcpu

UNDECODED = 0x1000
ONE, OTHER = CodePage(b"one"), CodePage(b"other")


class Vcpu:
    """A vCPU with pages of four records, by their handlers."""

    def __init__(self, index: int, pages: Sequence[Sequence[int]]):
        self.index, self._pages = index, pages

    def executed(self, page: int, undecoded: int) -> bytes:
        return bytes(handler != undecoded for handler in self._pages[page])


@pytest.fixture
def places() -> Places:
    decoded, no = 0x2000, UNDECODED
    first = Vcpu(0, [[decoded, no, no, no], [no, no, no, decoded]])
    second = Vcpu(1, [[no, decoded, no, no]])
    return Places([cast(TieredVcpu, vcpu) for vcpu in (first, second)], UNDECODED)


def test_what_vcpus_sample_in_the_same_code_is_one_place(places: Places) -> None:
    places.enter((1, 0), ONE)
    places.enter((0, 0), ONE)
    places.enter((0, 1), OTHER)
    assert places.home(Spot(0, 0, 4, jumps=True)) == Spot(1, 0, 4, jumps=True)
    assert places.home(Spot(1, 0, 4, jumps=False)) == Spot(1, 0, 4, jumps=False)
    assert places.home(Spot(0, 1, 4, jumps=False)) == Spot(0, 1, 4, jumps=False)


def test_a_page_that_nobody_has_told_of_stands_for_itself(places: Places) -> None:
    assert places.get((0, 1)) is None
    assert places.home(Spot(0, 1, 8, jumps=False)) == Spot(0, 1, 8, jumps=False)
    assert places.executed((0, 1)) == bytes([0, 0, 0, 1])


def test_executed_is_what_any_vcpu_has_decoded(places: Places) -> None:
    places.enter((0, 0), ONE)
    assert places.executed((0, 0)) == bytes([1, 0, 0, 0])
    places.enter((1, 0), ONE)
    assert places.executed((0, 0)) == places.executed((1, 0)) == bytes([1, 1, 0, 0])
    places.enter((0, 1), ONE)
    assert places.executed((0, 0)) == bytes([0, 1, 0, 1]), "where it was decoded last"


def test_code_that_leaves_its_home_has_another_one(places: Places) -> None:
    assert places.enter((0, 0), ONE) is None
    assert places.enter((1, 0), ONE) is None
    assert places.enter((0, 0), ONE) is None, "as before"
    assert places.enter((0, 0), OTHER) is ONE
    assert places.home(Spot(1, 0, 4, jumps=False)) == Spot(1, 0, 4, jumps=False)
    assert list(places.holding([ONE, OTHER])) == [((1, 0), ONE), ((0, 0), OTHER)]
    assert places.enter((1, 0), OTHER) is ONE
    assert list(places.holding([ONE])) == []
    assert places.home(Spot(1, 0, 4, jumps=False)) == Spot(0, 0, 4, jumps=False)


def test_all_can_be_forgotten(places: Places) -> None:
    places.enter((0, 0), ONE)
    assert places
    places.clear()
    assert not places
    assert list(places.holding([ONE])) == []
