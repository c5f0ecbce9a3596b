"""Vector registers of which a region uses the lowest 64 bits alone keep what is above them."""

from __future__ import annotations

import pytest

from bimetal.codegen.discover import Code, discover
from bimetal.codegen.layout import PAGE
from bimetal.codegen.registers import used_as_numbers
from bimetal.isa.arm.architecture import architecture
from tests.isa.arm_machine import BASE, ENGINES, Run

a64 = architecture.isa
FAR = BASE + PAGE
SEEN = BASE + 4 * PAGE
TURNS = 64
ONE, ABOVE = 0x3FF << 52, 0x1234_5678_9ABC_DEF0


def _code(at: int, *lines: str) -> bytes:
    return b"".join(a64.assemble(line, at + 4 * n) for n, line in enumerate(lines))


def _numbers(*lines: str) -> set[int]:
    """The vector registers that a region of these instructions uses as numbers."""
    page = _code(0, *lines).ljust(PAGE, b"\0")
    steps = discover(Code(a64, page), [0], lambda at: at < 4 * len(lines), limit=100)
    used = used_as_numbers(step.block for step in steps.values())
    return {number for name, number in used if name == "v"}


def test_which_registers_are_used_as_numbers() -> None:
    assert _numbers("fadd d1, d2, d3", "ldr d4, [x0, #0]", "str d5, [x0, #0]") == {1, 2, 3, 4, 5}
    assert _numbers("fadd d1, d2, d3", "fmul v2.2d, v4.2d, v4.2d") == {1, 3}
    assert _numbers("fadd d1, d2, d3", "str q1, [x0, #0]") == {2, 3}
    assert _numbers("fadd s1, s2, s3") == set()


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_above_a_number_goes_with_a_write_alone(engine: str) -> None:
    # A page that adds in every second turn, and one that looks at all of the register.
    adds = _code(
        BASE,
        f"tbz w1, #0, {BASE + 8:#x}",
        "fadd d1, d1, d2",
        f"bl {FAR:#x}",
        "sub x1, x1, #1",
        f"cbnz x1, {BASE:#x}",
        "wfi",
    )
    looks = _code(FAR, "str q1, [x9], #16", "ins v1.d[1], x5", "ret x30")
    machine = Run(engine, adds.ljust(PAGE, b"\0") + looks)
    try:
        registers = {"x1": TURNS, "x5": ABOVE, "x9": SEEN, "v1": ABOVE << 64, "v2": ONE}
        machine.until_halt(cpacr_el1=3 << 20, **registers)
        words = machine.memory(SEEN, 16 * TURNS).cast("Q")
        assert list(words[1::2]) == [ABOVE, 0] * (TURNS // 2)
        assert list(words[0:6:2]) == [0, ONE, ONE]
    finally:
        machine.close()
