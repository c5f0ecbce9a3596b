"""Operations whose NaNs, results out of range and notes of subnormal operands are said exactly mean
the same evaluated and as native code."""

from __future__ import annotations

import random
import re

import pytest

from bimetal.codegen.library import Library
from bimetal.ir import fp, vector
from bimetal.ir.evaluate import Frame
from bimetal.ir.softfloat import DOUBLE, SINGLE, Environment
from bimetal.ir.value import Value

from .test_vectors import Body, _NoMachine, compiled, number, run, traced

FORMATS = {32: SINGLE, 64: DOUBLE}
BODIES: dict[str, tuple[Body, int]] = {
    f"{name}_{lane}_{width}": (body, width)
    for lane in (32, 64)
    for width in (lane, 128)
    for name, body in (
        ("plus", lambda a, b, c, lane=lane: fp.add(a, b, lane, first_nan=True)),
        ("minus", lambda a, b, c, lane=lane: fp.sub(a, b, lane, first_nan=True)),
        ("times", lambda a, b, c, lane=lane: fp.mul(a, b, lane, first_nan=True)),
        ("by", lambda a, b, c, lane=lane: fp.div(a, b, lane, first_nan=True)),
        ("root", lambda a, b, c, lane=lane: fp.sqrt(a, lane, first_nan=True)),
        ("fused", lambda a, b, c, lane=lane: fp.mul_add(a, b, c, lane, first_nan=True)),
        ("whole", lambda a, b, c, lane=lane: fp.round_to_integral(a, lane, first_nan=True)),
        ("down", lambda a, b, c, lane=lane: fp.rounded(a, "down", lane, first_nan=True)),
        ("integer", lambda a, b, c, lane=lane: fp.to_signed_or_lowest(a, 32, lane)),
        ("rounded", lambda a, b, c, lane=lane: fp.rounded_or_lowest(a, 32, lane)),
        ("same", lambda a, b, c, lane=lane: fp.equal(a, b, lane)),
        ("below", lambda a, b, c, lane=lane: fp.less(a, b, lane)),
        ("quietly_below", lambda a, b, c, lane=lane: fp.less_quiet(a, b, lane)),
        ("quietly_up_to", lambda a, b, c, lane=lane: fp.less_equal_quiet(a, b, lane)),
    )
} | {
    "wide_integer_64_64": (lambda a, b, c: fp.to_signed_or_lowest(a, 64), 64),
    "wide_rounded_32_32": (lambda a, b, c: fp.rounded_or_lowest(a, 64), 32),
    "two_integers_32_64": (lambda a, b, c: fp.to_signed_or_lowest(a, 32, 32), 64),
    "narrower_64_128": (lambda a, b, c: fp.convert(a, 32, 64, first_nan=True), 128),
    "narrower_64_64": (lambda a, b, c: fp.convert(a, 32, first_nan=True), 64),
    "wider_32_64": (lambda a, b, c: fp.convert(a, 64, 32, first_nan=True), 64),
}  # fmt: skip


def noting(body: Body) -> Body:
    """The flags that an operation raises, above its result."""

    def both(a: Value, b: Value, c: Value) -> Value:
        fp.set_flags(0, 6)
        result = body(a, b, c)
        flags = fp.flags(6)
        return result.zext(192) | flags.zext(192) << 136

    return both


@pytest.fixture(scope="module")
def native() -> Library:
    return compiled({name: (noting(body), width) for name, (body, width) in BODIES.items()})


def any_number(rng: random.Random, lane: int) -> int:
    """Often a NaN, or subnormal."""
    form = FORMATS[lane]
    sign = rng.getrandbits(1) << (lane - 1)
    kind = rng.random()
    if kind < 0.25:
        payload = rng.randrange(1, form.smallest)
        return sign | form.infinity | payload
    if kind < 0.4:
        return sign | rng.randrange(1, form.smallest)
    return form.infinity | sign if kind < 0.45 else number(rng, lane)


@pytest.mark.parametrize("name", BODIES)
def test_results_and_flags(name: str, native: Library) -> None:
    body, width = BODIES[name]
    lane = int(re.findall(r"\d+", name)[0])
    rng = random.Random(name)
    for _ in range(300):
        operands = [
            vector.join([any_number(rng, lane) for _ in range(width // lane)], lane) for _ in "abc"
        ]
        machine = _NoMachine()
        machine.environment = Environment(notes_subnormal=True)
        block, result = traced(noting(body), width)
        frame = Frame(dict(zip("abc", operands, strict=True)), machine)  # type: ignore[arg-type]
        frame.run(block)
        wanted = frame.operand(result)
        got = run(native, name, noting(body), width, operands)
        assert got == wanted, ([hex(n) for n in operands], hex(got), hex(wanted))
