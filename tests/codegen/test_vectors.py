"""Operations on lanes mean the same evaluated and as native code, integers and numbers."""

from __future__ import annotations

import ctypes
import random
import re
from collections.abc import Callable

import pytest

from bimetal.codegen.layout import Layout
from bimetal.codegen.library import Library
from bimetal.codegen.linking import link
from bimetal.codegen.lower import Lowering
from bimetal.codegen.native import compile_object
from bimetal.codegen.tlb import METADATA
from bimetal.ir import fp, vector
from bimetal.ir.effects import FloatOperation
from bimetal.ir.evaluate import Frame
from bimetal.ir.softfloat import Environment
from bimetal.ir.value import Block, Value, field_of, tracing
from bimetal.isa.riscv import rv64

Body = Callable[[Value, Value, Value], Value]

SMALL = int.from_bytes(bytes([0x3F] * 16), "little")
"""Bits that keep an index below 64."""


class _Function(Lowering):
    """A function of three vectors behind pointers, whose result goes behind a fourth."""

    def missing(self, value: Value) -> str:
        pointer = self.let(f"getelementptr i8, ptr %in, i64 {16 * 'abc'.index(str(value.attr))}")
        return self.let(f"load i{value.width}, ptr {pointer}, align 1")


class _NoMachine:
    """What is evaluated here acts on nothing but the floating-point environment."""

    def __init__(self) -> None:
        self.environment = Environment()


def traced(body: Body, width: int) -> tuple[Block, Value]:
    block = Block()
    with tracing(block):
        result = body(*(field_of(name, width) for name in "abc"))
    return block, result


def evaluated(body: Body, width: int, operands: list[int]) -> int:
    block, result = traced(body, width)
    frame = Frame(dict(zip("abc", operands, strict=True)), _NoMachine())  # type: ignore[arg-type]
    frame.run(block)
    return frame.operand(result)


def compiled(bodies: dict[str, tuple[Body, int]]) -> Library:
    texts = [METADATA]
    for name, (body, width) in bodies.items():
        block, result = traced(body, width)
        lowering = _Function(Layout.of(rv64))
        lowering.block(block)
        kept = lowering.operand(result)
        lowering.put(f"store i{result.width} {kept}, ptr %out, align 1")
        lines = "\n".join((*lowering.allocas, *lowering.lines))
        strict = "strictfp" if ".constrained." in lines or "sideeffect" in lines else ""
        texts.append(f"define void @{name}(ptr %in, ptr %out) {strict} {{\n{lines}\nret void\n}}")
    return Library(link([compile_object("\n".join(texts))], bodies))


def lanewise(operation: str, lane: int) -> Body:
    return lambda a, b, c: vector.lanes(operation, lane, a, b)


INTEGER: dict[str, tuple[Body, int]] = {
    f"{operation}_{lane}_{width}": (lanewise(operation, lane), width)
    for operation in (
        "add", "sub", "mul", "and", "umin", "smax", "eq", "slt", "ule", "uadd_sat", "sadd_sat",
        "usub_sat", "ssub_sat",
    )
    for lane in (8, 16, 32, 64)
    for width in (64, 128)
} | {
    "shift": (lambda a, b, c: vector.lanes("asr", 16, a, 5), 128),
    "variable": (lambda a, b, c: vector.lanes("shl", 32, a, vector.lanes("and", 32, b, 31)), 128),
    "ones": (lambda a, b, c: vector.lanes("popcount", 8, a), 128),
    "magnitude": (lambda a, b, c: vector.lanes("abs", 16, a), 128),
    "wider": (lambda a, b, c: vector.lanes("sext", 8, a.trunc(64), to=16), 128),
    "narrower": (lambda a, b, c: vector.lanes("trunc", 16, a, to=8), 128),
    "same": (lambda a, b, c: vector.splat(a.trunc(16), 8), 128),
    "reversed": (lambda a, b, c: vector.shuffle(8, range(15, -1, -1), a), 128),
    "zipped": (lambda a, b, c: vector.shuffle(32, (0, 4, 1, 5), a, b), 128),
    "one_of": (lambda a, b, c: vector.element(a, 8, b.trunc(4)), 128),
    "third": (lambda a, b, c: vector.element(a, 32, 2), 128),
    "replaced": (lambda a, b, c: vector.insert(a, 16, 6, b.trunc(16)), 128),
    "replaced_somewhere": (lambda a, b, c: vector.insert(a, 16, c.trunc(3), b.trunc(16)), 128),
    "sum": (lambda a, b, c: vector.reduce("add", 8, a), 128),
    "least": (lambda a, b, c: vector.reduce("smin", 16, a), 128),
    "chosen": (lambda a, b, c: vector.choose(a, b, c), 128),
    "looked_up": (lambda a, b, c: vector.table(a & SMALL, b, c), 128),
    "looked_up_far": (lambda a, b, c: vector.table(a, b, c, b, a), 128),
    "looked_up_half": (lambda a, b, c: vector.table(a.trunc(64) & 0x1F1F1F1F1F1F1F1F, b), 128),
}  # fmt: skip

FLOAT: dict[str, tuple[Body, int]] = (
    {
        f"{name}_{lane}_{width}": (body, width)
        for lane in (32, 64)
        for width in (64, 128)
        for name, body in (
            ("plus", lambda a, b, c, lane=lane: fp.add(a, b, lane)),
            ("times", lambda a, b, c, lane=lane: fp.mul(a, b, lane)),
            ("by", lambda a, b, c, lane=lane: fp.div(a, b, lane)),
            ("fused", lambda a, b, c, lane=lane: fp.mul_add(a, b, c, lane)),
            ("whole", lambda a, b, c, lane=lane: fp.round_to_integral(a, lane)),
            ("same", lambda a, b, c, lane=lane: fp.equal(a, b, lane)),
            ("below", lambda a, b, c, lane=lane: fp.less(a, b, lane)),
            ("signed", lambda a, b, c, lane=lane: fp.from_signed(a, lane, lane)),
            ("unsigned", lambda a, b, c, lane=lane: fp.from_unsigned(a, lane, lane)),
        )
    }
    | {
        f"{name}_16_{width}": (body, width)
        for width in (16, 64, 128)
        for name, body in (
            ("plus", lambda a, b, c: fp.add(a, b, 16)),
            ("times", lambda a, b, c: fp.mul(a, b, 16)),
            ("by", lambda a, b, c: fp.div(a, b, 16)),
            ("root", lambda a, b, c: fp.sqrt(a, 16)),
            ("fused", lambda a, b, c: fp.mul_add(a, b, c, 16)),
            ("whole", lambda a, b, c: fp.round_to_integral(a, 16)),
            ("below", lambda a, b, c: fp.less(a, b, 16)),
            ("signed", lambda a, b, c: fp.from_signed(a, 16, 16)),
            ("unsigned", lambda a, b, c: fp.from_unsigned(a, 16, 16)),
        )
    }
    | {
        f"half_of_{'signed' if signed else 'unsigned'}_{lane}": (
            lambda a, b, c, signed=signed, lane=lane: (
                fp.from_signed if signed else fp.from_unsigned
            )(a, 16, lane),
            128,
        )
        for signed in (False, True)
        for lane in (32, 64)
    }
    | {
        "wider_32_64": (lambda a, b, c: fp.convert(a.trunc(64), 64, 32), 128),
        "wider_16_64": (lambda a, b, c: fp.convert(a.trunc(32), 64, 16), 128),
        "wider_16_32": (lambda a, b, c: fp.convert(a.trunc(64), 32, 16), 128),
        "narrower_64_32": (lambda a, b, c: fp.convert(a, 32, 64), 128),
        "narrower_64_16": (lambda a, b, c: fp.convert(a, 16, 64), 128),
        "narrower_32_16": (lambda a, b, c: fp.convert(a, 16, 32), 128),
    }
)


@pytest.fixture(scope="module")
def native() -> Library:
    return compiled(
        {f"i_{k}": v for k, v in INTEGER.items()} | {f"f_{k}": v for k, v in FLOAT.items()}
    )


def run(native: Library, symbol: str, body: Body, width: int, operands: list[int]) -> int:
    result = traced(body, width)[1].width
    given = b"".join(number.to_bytes(16, "little") for number in operands)
    out = ctypes.create_string_buffer(32)
    ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p)(native.address(symbol))(given, out)
    return int.from_bytes(out.raw, "little") & ((1 << result) - 1)


def edges(rng: random.Random, width: int) -> int:
    """Random bits, with bytes that are zeros, ones or signs more often than by chance."""
    return int.from_bytes(
        bytes(rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256))) for _ in range(width // 8)),
        "little",
    )


@pytest.mark.parametrize("name", INTEGER)
def test_integers(name: str, native: Library) -> None:
    body, width = INTEGER[name]
    rng = random.Random(name)
    for _ in range(50):
        operands = [edges(rng, width) for _ in "abc"]
        wanted = evaluated(body, width, operands)
        assert run(native, f"i_{name}", body, width, operands) == wanted, operands


SIGNIFICANDS = {16: 11, 32: 24, 64: 53}


def infinity(lane: int) -> int:
    return (1 << (lane - 1)) - (1 << (SIGNIFICANDS[lane] - 1))


def number(rng: random.Random, lane: int) -> int:
    """A number that is no NaN: which one of several comes out is the ISA's business. Some are near
    the middle between two of fewer bits, or between the smallest of another format."""
    sign, top = rng.getrandbits(1) << (lane - 1), infinity(lane)
    bits = SIGNIFICANDS[lane] - 1
    one, scale = (top >> bits + 1) << bits, rng.randrange(-30, 20) << bits
    middle = one + scale + (rng.randrange(1 << 11) << bits >> 11) + rng.choice((-1, 0, 1))
    near = (0, 1, one, top - 1, rng.randrange(top), min(max(middle, 0), top - 1))
    return sign | rng.choice(near)


@pytest.mark.parametrize("name", FLOAT)
def test_numbers(name: str, native: Library) -> None:
    body, width = FLOAT[name]
    lane = int(re.findall(r"\d+", name)[0])
    result = traced(body, width)[1]
    assert isinstance(result, FloatOperation)
    to, count = result.to, result.count
    rng = random.Random(name)
    for _ in range(50):
        operands = [
            vector.join([number(rng, lane) for _ in range(width // lane)], lane) for _ in "abc"
        ]
        wanted = evaluated(body, width, operands)
        got = run(native, f"f_{name}", body, width, operands)
        for one, other in zip(*(vector.split(n, to, count) for n in (got, wanted)), strict=True):
            assert one == other or (is_nan(one, to) and is_nan(other, to)), operands


def is_nan(bits: int, lane: int) -> bool:
    return bits & ((1 << (lane - 1)) - 1) > infinity(lane)
