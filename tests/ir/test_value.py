"""Symbolic values: folding, widths, and what a description must not say."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bimetal.ir.value import Block, DescriptionError, Value, const, lift, select, tracing


@pytest.fixture(autouse=True)
def block() -> Iterator[Block]:
    with tracing(Block()) as block:
        yield block


def field(width: int, name: str = "n") -> Value:
    return Value("field", width, (), name)


def test_constants_fold(block: Block) -> None:
    assert int((const(0xFF, 8) + 1).zext(16) - 1) == 0xFFFF
    assert int(const(0x80, 8).sext(32).asr(4)) == 0xFFFF_FFF8
    assert int(const(0b1011_0100, 8)[5:2]) == 0b1101
    assert block == []


@pytest.mark.parametrize(
    "identity",
    [
        lambda v: v + 0,
        lambda v: v - 0,
        lambda v: v | 0,
        lambda v: v ^ 0,
        lambda v: v & 0xFF,
        lambda v: v << 0,
        lambda v: v.lsr(0),
        lambda v: v.zext(8),
        lambda v: v[7:0],
        lambda v: select(const(1, 1), v, 0),
        lambda v: select(False, 0, v),
    ],
)
def test_identities_vanish(identity: Callable[[Value], Value], block: Block) -> None:
    value = field(8)
    assert identity(value) is value
    assert block == []


def test_constants_come_last(block: Block) -> None:
    value = field(8)
    assert (3 + value).args[0] is value
    assert (3 - value).args[1] is value


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda v: bool(v == 1), "not a Python truth"),
        (lambda v: v < 1, "signed"),
        (lambda v: v >> 1, "comes in at the top"),
        (lambda v: v + field(16), "widths differ: 16 and 8"),
        (lambda v: v + 256, "does not fit in 8 bits"),
        (lambda v: v[8], "bits [8:8] of a value of 8 bits"),
        (lambda v: v.zext(4), "zext from 8 to 4 bits"),
        (lambda v: v.trunc(9), "trunc from 8 to 9 bits"),
        (lambda v: select(v, v, 0), "a condition of 8 bits"),
        (lambda v: select(v == 0, 1, 2), "has no width"),
        (lambda v: range(v), "only known when the guest runs"),
        (lambda v: int(v), "not a Python integer"),
    ],
)
def test_mistakes_name_the_line(mistake: Callable[[Value], object], message: str) -> None:
    with pytest.raises(DescriptionError) as raised:
        mistake(field(8))
    assert message in str(raised.value)
    assert "test_value.py" in str(raised.value)


def test_lift_keeps_the_sign() -> None:
    assert int(lift(-1, 12)) == 0xFFF
