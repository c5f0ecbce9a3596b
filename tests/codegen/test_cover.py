"""What a region is found by: its own instructions, whatever stands beside them in the page."""

from __future__ import annotations

import random

import pytest

from bimetal.codegen.cover import LINE, Cover, Line, family_of, lines_of, merged
from bimetal.codegen.layout import PAGE
from bimetal.isa.decoding import Decoding

CODE = random.Random(1).randbytes(PAGE)
SPANS = ((20, 60), (4000, 4096))


def changed(at: int) -> bytes:
    """The page with another byte at an offset."""
    return CODE[:at] + bytes([CODE[at] ^ 1]) + CODE[at + 1 :]


def test_pieces_that_touch_are_one_span() -> None:
    assert merged([(8, 12), (0, 4), (4, 8), (20, 22), (10, 11)]) == ((0, 12), (20, 22))


@pytest.mark.parametrize("at", [0, 19, 60, 3999])
def test_other_code_beside_it_changes_nothing(at: int) -> None:
    assert Cover.of(CODE, SPANS).fits(changed(at))


@pytest.mark.parametrize("at", [20, 40, 59, 4000, 4095])
def test_each_byte_of_its_own_does(at: int) -> None:
    assert not Cover.of(CODE, SPANS).fits(changed(at))


def test_the_same_code_elsewhere_in_the_page_is_another() -> None:
    moved = bytes(4) + CODE[:-4]
    assert not Cover.of(CODE, ((20, 60),)).fits(moved)


def test_it_is_looked_up_by_a_line_that_it_covers_whole() -> None:
    number, content = Cover.of(CODE, SPANS).line(CODE)
    assert content == CODE[number * LINE : (number + 1) * LINE]
    assert any(start <= number * LINE and (number + 1) * LINE <= end for start, end in SPANS)


def test_a_region_of_one_instruction_is_looked_up_by_the_line_around_it() -> None:
    assert Cover.of(CODE, ((36, 40),)).line(CODE).number == 36 // LINE


def test_lines_are_the_whole_page_and_keys_tell_them() -> None:
    lines = lines_of(CODE)
    assert b"".join(lines) == CODE
    family = family_of(b"an engine", Decoding())
    for line in map(Line, range(len(lines)), lines):
        assert line.key(family).startswith(f"{family} ")
        assert Line.of_key(line.key(family)) == line
    assert family_of(b"an engine", Decoding(1)) != family != family_of(b"another", Decoding())


def test_the_key_of_something_else_is_none() -> None:
    with pytest.raises(ValueError, match="values to unpack"):
        Line.of_key("interpreter riscv64 0123 of another kind")


@pytest.mark.parametrize(
    "spans", [((0, 4097),), ((-4, 4),), ((4, 4),), ((0, 8), (4, 12)), ((8, 12), (0, 4))]
)
def test_spans_that_are_none_of_a_page_are_refused(spans: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="is no span of a page"):
        Cover(spans, "").check()
