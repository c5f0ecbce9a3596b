"""Which pages of memory were written to, as the host tells."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from bimetal.memory import contents
from bimetal.memory.contents import PAGE
from bimetal.memory.ram import Ram
from bimetal.memory.written import Written, host_tells

SIZE = 256 * PAGE


@pytest.fixture
def ram() -> Iterator[Ram]:
    made = Ram("ram", SIZE)
    yield made
    made.close()


def test_what_is_written_to_is_told_once(ram: Ram) -> None:
    ram.bytes[5 * PAGE] = 1
    with Written(ram) as written:
        assert written.take_over((0, SIZE // 2)) == [(5 * PAGE, 6 * PAGE)]
        assert written.take_over((SIZE // 2, SIZE)) == []
        assert written.changed() == []
        assert ram.bytes[5 * PAGE] == 1
        ram.bytes[7 * PAGE : 9 * PAGE] = b"x" * 2 * PAGE
        ram.bytes[200 * PAGE + 5] = 2
        changed = written.changed()
        assert changed == [(7 * PAGE, 9 * PAGE), (200 * PAGE, 201 * PAGE)]
        written.keep(changed)
        assert written.changed() == []
        assert written.kept(7 * PAGE, 9 * PAGE) == b"x" * 2 * PAGE
        ram.bytes[7 * PAGE] = 3
        assert written.kept(7 * PAGE, 7 * PAGE + 1) == b"x"
        written.give_back((0, SIZE))
        assert (ram.bytes[7 * PAGE], ram.bytes[8 * PAGE], ram.bytes[5 * PAGE]) == (3, 120, 1)
    assert ram.bytes[200 * PAGE + 5] == 2


def test_nothing_is_lost_in_any_order(ram: Ram) -> None:
    """A copy that is made of what is told is the same as the memory."""
    dice, copy = random.Random(3), bytearray(SIZE)
    with Written(ram) as written:
        for start in range(0, SIZE, 64 * PAGE):
            for low, high in written.take_over((start, start + 64 * PAGE)):
                copy[low:high] = written.kept(low, high)
        for _ in range(200):
            for _ in range(dice.randrange(6)):
                ram.bytes[dice.randrange(SIZE)] = dice.randrange(256)
            changed = written.changed()
            written.keep(changed)
            for low, high in changed:
                copy[low:high] = written.kept(low, high)
            assert copy == ram.bytes


def test_where_the_host_does_not_tell_all_of_it_may_have_been_written_to(
    ram: Ram, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert host_tells(ram)
    monkeypatch.setattr(contents, "PAGE_MAP", "/proc/self/nothing")
    assert not host_tells(ram)
    with Written(ram) as written:
        written.take_over((0, SIZE))
        assert written.changed() == [(0, SIZE)]


def test_memory_that_is_given_back_meanwhile_stays(ram: Ram) -> None:
    """Or else who has a copy would not hear that it is zeroes."""
    ram.bytes[0] = 9
    with Written(ram) as written:
        written.take_over((0, SIZE))
        ram.give_back(0, SIZE)
        assert ram.bytes[0] == 9
        written.give_back((0, SIZE))
        assert ram.anonymous
    ram.give_back(0, SIZE)
    assert ram.bytes[0] == 0


def test_memory_is_taken_as_it_is(ram: Ram) -> None:
    other = Ram("other", SIZE)
    other.bytes[3 * PAGE] = 4
    ram.bytes[0] = 1
    ram.take(other)
    assert (ram.bytes[0], ram.bytes[3 * PAGE]) == (0, 4)
    assert other.bytes[3 * PAGE] == 0
    other.close()
    assert ram.bytes[3 * PAGE] == 4
