"""The PLIC as conversations: sources, contexts, claims and completions."""

from functools import partial

import pytest

from bimetal.devices.irq.plic import Plic
from bimetal.devices.output import Level

PENDING, ENABLE, THRESHOLD, CLAIM = 0x1000, 0x2000, 0x20_0000, 0x20_0004


def priority(source: int) -> int:
    return 4 * source


class Board:
    """A PLIC of 96 sources and the levels of its four context lines."""

    def __init__(self) -> None:
        self.plic = Plic(sources=96, contexts=4)
        self.lines = [False] * 4
        for context, line in enumerate(self.plic.notify):
            line.connect(partial(self.hear, context))

    def hear(self, context: int, level: bool) -> None:
        assert self.lines[context] != level, "told twice of the same level"
        self.lines[context] = level

    def line(self, context: int) -> bool:
        return self.lines[context]

    def enable(self, context: int, *sources: int) -> None:
        for source in sources:
            address = ENABLE + 0x80 * context + source // 32 * 4
            self.plic.write(address, 4, self.plic.read(address, 4) | 1 << source % 32)
            self.plic.write(priority(source), 4, 1)

    def claim(self, context: int) -> int:
        return self.plic.read(CLAIM + 0x1000 * context, 4)

    def complete(self, context: int, source: int) -> None:
        self.plic.write(CLAIM + 0x1000 * context, 4, source)


def test_from_level_to_completion() -> None:
    board = Board()
    board.enable(1, 10)
    board.plic[10](True)
    assert board.lines == [False, True, False, False]
    assert board.plic.read(PENDING, 4) == 1 << 10
    assert board.claim(1) == 10
    assert board.lines == [False] * 4
    assert board.claim(1) == 0
    board.plic[10](False)
    board.complete(1, 10)
    assert board.lines == [False] * 4


def test_completion_alone_requests_nothing() -> None:
    board = Board()
    board.enable(1, 10)
    board.plic[10](True)
    assert board.claim(1) == 10
    board.complete(1, 10)
    assert not board.line(1), "the level is still high, but its device has done nothing"
    board.plic[10](False)
    board.plic[10](True)
    assert board.claim(1) == 10


@pytest.mark.parametrize("how", ["rises again", "is driven high again"])
def test_a_device_that_still_wants_attention_interrupts_again_after_completion(how: str) -> None:
    board, irq = Board(), Level("irq")
    irq.connect(board.plic[10])
    board.enable(1, 10)
    irq(True)
    assert board.claim(1) == 10
    if how == "rises again":
        irq(False)
    irq(True)
    assert not board.line(1), "one at a time"
    assert board.claim(1) == 0
    board.complete(1, 10)
    assert board.line(1)
    assert board.claim(1) == 10


def test_what_was_over_before_completion_interrupts_nobody() -> None:
    board = Board()
    board.enable(1, 10)
    board.plic[10](True)
    assert board.claim(1) == 10
    board.plic[10](False)
    board.plic[10](True)
    board.plic[10](False)
    board.complete(1, 10)
    assert not board.line(1)
    assert board.claim(1) == 0


def test_after_a_reset_nothing_is_requested() -> None:
    board = Board()
    board.plic[10](True)
    board.plic.reset()
    board.plic[10](False)  # its device is reset later
    board.enable(1, 10)
    assert not board.line(1)
    board.plic[10](True)
    assert board.line(1)


def test_a_request_is_not_withdrawn() -> None:
    board = Board()
    board.enable(0, 96)
    board.plic[96](True)
    board.plic[96](False)
    assert board.plic.read(PENDING + 12, 4) == 1
    assert board.line(0)
    assert board.claim(0) == 96
    board.complete(0, 96)
    assert not board.line(0)


def test_a_handler_may_disable_what_it_serves() -> None:
    board = Board()
    board.enable(1, 10)
    board.plic[10](True)
    assert board.claim(1) == 10
    board.plic.write(ENABLE + 0x80, 4, 0)
    board.complete(1, 10)
    board.plic[10](False)
    board.plic[10](True)
    board.enable(1, 10)
    assert board.claim(1) == 10


def test_the_highest_priority_is_first_and_the_lowest_number_among_equals() -> None:
    board = Board()
    board.enable(1, 3, 40, 70, 71)
    for source, level in ((3, 2), (40, 7), (70, 7), (71, 0)):
        board.plic.write(priority(source), 4, level)
        board.plic[source](True)
    assert [board.claim(1) for _ in range(4)] == [40, 70, 3, 0]


def test_a_threshold_silences_the_line_but_not_a_claim() -> None:
    board = Board()
    board.enable(2, 5)
    board.plic.write(THRESHOLD + 0x2000, 4, 1)
    board.plic[5](True)
    assert not board.line(2)
    board.plic.write(THRESHOLD + 0x2000, 4, 0)
    assert board.line(2)
    board.plic.write(THRESHOLD + 0x2000, 4, 7)
    assert board.claim(2) == 5


def test_one_source_for_two_contexts_is_claimed_once() -> None:
    board = Board()
    board.enable(1, 8)
    board.enable(3, 8)
    board.plic[8](True)
    assert board.lines == [False, True, False, True]
    assert board.claim(3) == 8
    assert board.lines == [False] * 4
    assert board.claim(1) == 0


def test_what_the_hardware_does_not_have_stays_zero() -> None:
    board = Board()
    board.plic.write(ENABLE, 4, 0xFFFF_FFFF)
    board.plic.write(ENABLE + 12, 4, 0xFFFF_FFFF)
    board.plic.write(ENABLE + 16, 4, 0xFFFF_FFFF)
    board.plic.write(priority(5), 4, 0xFF)
    board.plic.write(priority(0), 4, 7)
    assert board.plic.read(ENABLE, 4) == 0xFFFF_FFFE
    assert board.plic.read(ENABLE + 12, 4) == 1
    assert board.plic.read(ENABLE + 16, 4) == 0
    assert board.plic.read(priority(5), 4) == 7
    assert board.plic.read(priority(0), 4) == 0


@pytest.mark.parametrize("source", [0, 10, 97, 0xFFFF_FFFF])
def test_completing_what_nobody_has_claimed_changes_nothing(source: int) -> None:
    board = Board()
    board.enable(1, 9, 10)
    board.plic[9](True)
    assert board.claim(1) == 9
    board.complete(1, source)
    assert not board.line(1)
    assert len(board.plic.events.counts) == 1


def test_reset_and_snapshot() -> None:
    board, other = Board(), Board()
    board.enable(1, 10, 11)
    board.plic[10](True)
    board.plic[11](True)
    assert board.claim(1) == 10
    other.plic.load(board.plic.save())
    other.plic[10](True)  # as its device says, after it was loaded too
    assert other.lines == [False, True, False, False]
    assert other.claim(1) == 11
    other.complete(1, 10)
    assert other.claim(1) == 0, "nobody has requested anything anew"
    board.plic.reset()
    assert board.lines == [False] * 4
    assert board.plic.read(ENABLE + 0x80, 4) == 0


@pytest.mark.parametrize("source", [0, 97])
def test_pins_exist_or_not(source: int) -> None:
    with pytest.raises(IndexError, match="sources 1 to 96"):
        Board().plic[source]
