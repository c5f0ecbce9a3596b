"""Extended precision means the same evaluated and on the host's x87."""

from __future__ import annotations

import ctypes
import random

import pytest

from bimetal.codegen.layout import Layout
from bimetal.codegen.library import Library
from bimetal.codegen.linking import link
from bimetal.codegen.lower import Lowering
from bimetal.codegen.native import compile_object
from bimetal.codegen.tlb import METADATA
from bimetal.ir.extended import KNOWN_INEXACT, OPERATIONS, STATUS, Extended
from bimetal.ir.soft_extended import evaluate_extended
from bimetal.ir.value import Block, Value, field_of, perform, tracing
from bimetal.isa.riscv import rv64

TRANSCENDENTAL = {"sin", "cos", "tan", "2xm1", "patan", "yl2x", "yl2xp1"}
EXACT = [name for name in OPERATIONS if name not in TRANSCENDENTAL]
CONTROL = (0x37F, 0x37F, 0x77F, 0xB7F, 0xF7F, 0x27F, 0x07F, 0x67F, 0xC7F)
TOP = 1 << 63
INEXACT = 1 << STATUS + 5


class _Function(Lowering):
    """A function of a control word and two operands behind a pointer."""

    def missing(self, value: Value) -> str:
        pointer = self.let(f"getelementptr i8, ptr %in, i64 {16 * 'cab'.index(str(value.attr))}")
        return self.let(f"load i{value.width}, ptr {pointer}, align 1")


@pytest.fixture(scope="module")
def native() -> Library:
    texts = [METADATA]
    for name, widths in OPERATIONS.items():
        block = Block()
        with tracing(block):
            operands = [field_of(at, width) for at, width in zip("ab", widths, strict=False)]
            result = perform(Extended(name, field_of("c", 16), *operands))
        lowering = _Function(Layout.of(rv64))
        lowering.block(block)
        lowering.put(f"store i96 {lowering.operand(result)}, ptr %out, align 1")
        lines = "\n".join((*lowering.allocas, *lowering.lines))
        texts.append(f"define void @x87_{name}(ptr %in, ptr %out) {{\n{lines}\nret void\n}}")
    return Library(link([compile_object("\n".join(texts))], [f"x87_{name}" for name in OPERATIONS]))


def run(native: Library, name: str, *given: int) -> int:
    content = b"".join(number.to_bytes(16, "little") for number in given)
    out = ctypes.create_string_buffer(16)
    function = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p)
    function(native.address(f"x87_{name}"))(content, out)
    return int.from_bytes(out.raw[:12], "little")


def number(rng: random.Random, width: int, near: int) -> int:
    """An operand: of 80 bits all kinds, near another one at times."""
    if width < 80:
        edges = (0, 1, 1 << width - 1, (1 << width - 1) - 1, 0x7F80_0000, 0x7FF0 << 48, 0x7F80_0001)
        return (rng.choice(edges) if rng.random() < 0.4 else rng.getrandbits(width)) % (1 << width)
    sign = rng.getrandbits(1) << 79
    kind = rng.random()
    mantissa = rng.choice((TOP, TOP | 1, (1 << 64) - 1, TOP | rng.getrandbits(63)))
    mantissa &= -(1 << rng.choice((0, 0, 0, 11, 40)))
    if kind < 0.15:
        return sign | rng.choice((0, 1, 0x7FFF << 64 | TOP, 0x3FFF << 64 | TOP, 0x7FFE << 64 | TOP))
    if kind < 0.25:
        return sign | 0x7FFF << 64 | mantissa | rng.choice((0, 1 << 62))
    if kind < 0.32:
        return sign | mantissa >> rng.randrange(64)
    if kind < 0.36:
        return sign | rng.getrandbits(15) << 64 | rng.getrandbits(63)
    if kind < 0.5:
        return near ^ rng.choice((0, 1, 1 << 79, 1 << 64))
    if kind < 0.6:
        return sign | rng.getrandbits(15) << 64 | mantissa
    return sign | rng.randrange(0x3FFF - 40, 0x3FFF + 80) << 64 | mantissa


@pytest.mark.parametrize("name", EXACT)
def test_evaluated_as_computed(name: str, native: Library) -> None:
    rng, widths, near = random.Random(name), OPERATIONS[name], 0
    for _ in range(2000):
        control, operands = rng.choice(CONTROL), []
        for width in widths:
            near = number(rng, width, near)
            operands.append(near)
        wanted = run(native, name, control, *operands)
        known = run(native, name, control | KNOWN_INEXACT, *operands)
        got = evaluate_extended(name, control, *operands)
        assert (got, known) == (wanted, wanted | INEXACT), (
            name,
            hex(control),
            [hex(n) for n in operands],
            hex(got),
            hex(known),
            hex(wanted),
        )
        assert evaluate_extended(name, control | KNOWN_INEXACT, *operands) == known


@pytest.mark.parametrize("name", sorted(TRANSCENDENTAL))
def test_transcendental_functions_are_off_by_one_bit_at_most(name: str, native: Library) -> None:
    """Processors round correctly most of the time."""
    rng, widths, near, same = random.Random(name), OPERATIONS[name], 0, 0
    for _ in range(TRIES):
        operands = []
        for width in widths:
            near = number(rng, width, near)
            if name == "2xm1" and near >> 64 & 0x7FFF < 0x7FFF:
                near = near >> 79 << 79 | rng.randrange(0x3FFF - 70, 0x3FFF) << 64 | near & TOP - 1
                near |= TOP
            operands.append(near)
        if name == "yl2xp1":
            operands[1] = operands[1] & ~(0x7FFF << 64) | rng.randrange(16310, 16381) << 64 | TOP
        wanted = run(native, name, CONTROL[0], *operands)
        got = evaluate_extended(name, CONTROL[0], *operands)
        same += got == wanted
        off = abs((got & MAGNITUDE) - (wanted & MAGNITUDE))
        told = (got ^ wanted) >> 80 & ~C1
        assert (off, told) <= (1, 0), ([hex(n) for n in operands], hex(got), hex(wanted))
    assert same > 0.7 * TRIES


TRIES = 300
MAGNITUDE = (1 << 80) - 1
C1 = 0x200
