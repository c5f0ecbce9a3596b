"""The PL061: lines as inputs, outputs and interrupts."""

import pytest

from bimetal.devices.gpio.pl061 import Pl061

ALL, DIR, IS, IBE, IEV, IE, RIS, MIS, IC = (
    0x3FC, 0x400, 0x404, 0x408, 0x40C, 0x410, 0x414, 0x418, 0x41C,
)  # fmt: skip


@pytest.fixture
def gpio() -> Pl061:
    return Pl061()


def only(*lines: int) -> int:
    """The address of DATA at which these lines are seen."""
    return sum(1 << line for line in lines) << 2


def test_inputs_by_address(gpio: Pl061) -> None:
    gpio[3](True)
    gpio[5](True)
    assert gpio.read(ALL, 4) == 0x28
    assert gpio.read(only(3), 4) == 0x08
    assert gpio.read(only(0, 1), 4) == 0
    gpio.write(ALL, 4, 0xFF)
    assert gpio.read(ALL, 4) == 0x28, "inputs are not written"


def test_outputs_by_address(gpio: Pl061) -> None:
    gpio.write(DIR, 4, 0x0F)
    gpio.write(only(0, 2, 7), 4, 0xFF)
    assert [line.high for line in gpio.lines] == [True, False, True] + [False] * 5
    gpio[1](True)
    assert gpio.read(ALL, 4) == 0x05
    gpio.write(DIR, 4, 0)
    assert not any(line.high for line in gpio.lines)
    assert gpio.read(ALL, 4) == 0x02


@pytest.mark.parametrize(
    ("both", "rise", "told"), [(0, 8, [True, False]), (0, 0, [False, True]), (8, 0, [True, True])]
)
def test_edges(gpio: Pl061, both: int, rise: int, told: list[bool]) -> None:
    gpio.write(IBE, 4, both)
    gpio.write(IEV, 4, rise)
    gpio.write(IE, 4, 8)
    heard = []
    for level in (True, False):
        gpio[3](level)
        heard.append(gpio.irq.high)
        gpio.write(IC, 4, 0xFF)
        assert not gpio.irq.high
    assert heard == told


@pytest.mark.parametrize("high", [True, False])
def test_levels(gpio: Pl061, high: bool) -> None:
    gpio.write(IS, 4, 8)
    gpio.write(IEV, 4, 8 if high else 0)
    gpio.write(IE, 4, 8)
    gpio[3](high)
    assert gpio.irq.high
    gpio.write(IC, 4, 8)
    assert gpio.irq.high
    gpio[3](not high)
    assert not gpio.irq.high


def test_masked_interrupts_wait(gpio: Pl061) -> None:
    gpio.write(IEV, 4, 8)
    gpio[3](True)
    assert (gpio.read(RIS, 4), gpio.read(MIS, 4), gpio.irq.high) == (8, 0, False)
    gpio.write(IE, 4, 8)
    assert (gpio.read(MIS, 4), gpio.irq.high) == (8, True)


def test_lines_that_are_there(gpio: Pl061) -> None:
    with pytest.raises(IndexError, match="0 to 7"):
        gpio[8]


def test_reset_and_snapshot(gpio: Pl061) -> None:
    gpio.write(IEV, 4, 8)
    gpio.write(IE, 4, 8)
    gpio[3](True)
    other = Pl061()
    other.load(gpio.save())
    assert other.irq.high
    assert other.read(ALL, 4) == 8
    gpio.reset()
    assert not gpio.irq.high
    assert gpio.read(ALL, 4) == 8, "its key is still pressed"
    assert gpio.read(RIS, 4) == 0
