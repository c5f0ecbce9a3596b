"""Flags that are made when somebody looks are the ones that were set, wherever a region is left."""

from __future__ import annotations

import random

import pytest

from bimetal.codegen.discover import Code, discover
from bimetal.codegen.layout import PAGE, Layout
from bimetal.codegen.region import Region, region_text
from bimetal.codegen.ways_out import STUBS
from bimetal.isa.arm.architecture import architecture
from tests.isa.arm_machine import BASE, Run

a64 = architecture.isa
BLOCKS, TURNS = 40, 400
DATA = BASE + 0x1000
CONDITIONS = "eq ne cs cc mi pl vs vc hi ls ge lt gt le".split()
END = BASE + 0xF00
FP_ALLOWED = 3 << 20


def _line(chance: random.Random) -> str:
    """An instruction that writes or reads flags, or by which a region may be left."""
    a, b, c = (chance.randrange(8) for _ in range(3))
    condition, small, bits = chance.choice(CONDITIONS), chance.randrange(32), chance.randrange(16)
    r = chance.choice("wx")
    return chance.choice(
        (
            f"adds {r}{a}, {r}{b}, {r}{c}",
            f"subs {r}{a}, {r}{b}, {r}{c}",
            f"subs {r}{a}, {r}{b}, #{small}",
            f"subs {r}zr, {r}{b}, {r}{c}",
            f"subs {r}zr, {r}{b}, #{small}",
            f"ands {r}{a}, {r}{b}, {r}{c}",
            f"adcs {r}{a}, {r}{b}, {r}{c}",
            f"sbcs {r}{a}, {r}{b}, {r}{c}",
            f"adc {r}{a}, {r}{b}, {r}{c}",
            f"csinc {r}{a}, {r}{b}, {r}{c}, {condition}",
            f"ccmp {r}{a}, {r}{b}, #{bits}, {condition}",
            f"ccmn {r}{a}, #{small}, #{bits}, {condition}",
            f"rmif x{a}, #{small}, #{bits}",
            f"setf8 w{a}",
            "cfinv",
            f"fcmp d{a}, d{b}",
            f"fccmp d{a}, d{b}, #{bits}, {condition}",
            f"fmul d{a}, d{b}, d{c}",
            f"ldr x{a}, [x9, #{8 * small}]",
            f"str x{a}, [x9, #{8 * small}]",
            f"mrs x{a}, nzcv",
            f"msr nzcv, x{a}",
        )
    )


def _program(seed: int) -> bytes:
    """Blocks that jump to each other, `TURNS` times in all."""
    chance = random.Random(seed)
    bodies = [[_line(chance) for _ in range(chance.randrange(4))] for _ in range(BLOCKS)]
    starts = [BASE]
    for body in bodies:
        starts.append(starts[-1] + 4 * (len(body) + 3))
    lines = []
    for body in bodies:
        back = f"b.{chance.choice(CONDITIONS)} {chance.choice(starts):#x}"
        lines += ["sub x10, x10, #1", f"cbz x10, {END:#x}", *body, back]
    lines.append(f"b {BASE:#x}")
    code = b"".join(a64.assemble(line, BASE + 4 * n) for n, line in enumerate(lines))
    return code.ljust(END - BASE, b"\0") + a64.assemble("mrs x11, nzcv") + a64.assemble("wfi")


def _outcome(engine: str, seed: int) -> dict[str, int]:
    """The registers at the end of a random program."""
    chance = random.Random(seed)
    edges = (0, 1, 1 << 31, 1 << 63, (1 << 64) - 1, (1 << 63) - 1)
    registers = {f"x{n}": chance.choice((*edges, chance.getrandbits(64))) for n in range(8)}
    doubles = (0, 0x3FF << 52, 0x7FF << 52, 0x7FF1 << 48)  # 0, 1, infinity, a NaN
    numbers = {f"v{n}": chance.choice(doubles) for n in range(8)}
    machine = Run(engine, _program(seed))
    try:
        machine.until_halt(x9=DATA, x10=TURNS, cpacr_el1=FP_ALLOWED, **registers, **numbers)
        names = [*registers, *numbers, "x10", "x11"]
        found = {name: machine.cpu.read_register(name) for name in names}
        return found | {"data": int.from_bytes(machine.memory(DATA, 256), "little")}
    finally:
        machine.close()


@pytest.mark.parametrize("seed", range(4))
def test_random_flags_are_those_of_the_interpreter(seed: int) -> None:
    expected = _outcome("interp", seed)
    assert expected["x10"] == 0
    for engine in ("optimise", "optimise,forget"):
        assert _outcome(engine, seed) == expected, engine


def _stores_of_flags(*lines: str) -> int:
    """How often a region of these instructions, entered at the first, stores to the zero flag."""
    page = b"".join(a64.assemble(line, 4 * n) for n, line in enumerate(lines)).ljust(PAGE, b"\0")
    steps = discover(Code(a64, page), [0], lambda at: at < 4 * len(lines), limit=100)
    layout = Layout.of(a64, shared=False)
    text = region_text(layout, "flags", Region(steps, (0,)), [f"s_{name}" for name in STUBS])
    return text.count("%r_zf_0")


def test_a_comparison_keeps_its_operands_and_no_bits() -> None:
    assert _stores_of_flags("subs x1, x1, #1", "b.ne 0x0") == 0
    assert _stores_of_flags("adcs x1, x1, x2", "b.ne 0x0") > 0
