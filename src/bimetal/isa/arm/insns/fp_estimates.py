"""Estimates of reciprocals and reciprocal square roots with their steps, and FCVTXN, which rounds
to odd so that a second rounding gives the right result (C4.1.96)."""

from __future__ import annotations

from ....ir.value import Value
from ...trace import Cpu
from ..fp import DOUBLE, SINGLE, Numbers, write
from ..fp_access import need_fp
from ..fp_conversions import convert_to_odd
from ..fp_encodings import FORMATS, SHAPES
from ..fp_estimates import (
    exponent,
    reciprocal,
    reciprocal_root,
    reciprocal_root_step,
    reciprocal_step,
    unsigned_reciprocal,
    unsigned_reciprocal_root,
)
from ..state import a64
from .fp_vector import three, three_scalar
from .fp_vector_convert import scalars, vectors

for _name, _code, _estimate in (
    ("frecpe", "0 1 11101", reciprocal),
    ("frsqrte", "1 1 11101", reciprocal_root),
):
    vectors(_name, _code, _estimate)
    scalars(_name, _code, _estimate)
scalars("frecpx", "0 1 11111", exponent)
for _name, _code, _step in (
    ("frecps", "0 0 11111", reciprocal_step),
    ("frsqrts", "0 1 11111", reciprocal_root_step),
):
    for _shape in SHAPES:
        three(_shape, _name, _code, _step)
    for _form in FORMATS:
        three_scalar(_form, _name, _code, _step)


def _unsigned(name: str, u: str, q: str, arrangement: str) -> None:
    operation = unsigned_reciprocal if name == "urecpe" else unsigned_reciprocal_root
    width = 128 if q == "1" else 64

    @a64.insn(
        f"0 {q} {u} 01110 10 10000 11100 10 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{arrangement}, {{Rn:v}}.{arrangement}",
    )
    def meaning(cpu: Cpu, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        write(cpu, Rd, operation(cpu.v[Rn].trunc(width)))


for _name, _u in (("urecpe", "0"), ("ursqrte", "1")):
    for _q, _arrangement in (("0", "2s"), ("1", "4s")):
        _unsigned(_name, _u, _q, _arrangement)

PAIR, HALF_PAIR = Numbers(DOUBLE, 128), Numbers(SINGLE, 64)


@a64.insn("0 0 1 01110 01 10000 10110 10 Rn:5 Rd:5", "fcvtxn {Rd:v}.2s, {Rn:v}.2d")
def fcvtxn(cpu: Cpu, Rn: Value, Rd: Value) -> None:
    write(cpu, Rd, convert_to_odd(cpu, PAIR, HALF_PAIR, PAIR.read(cpu, Rn)))


@a64.insn("0 1 1 01110 01 10000 10110 10 Rn:5 Rd:5", "fcvtxn2 {Rd:v}.4s, {Rn:v}.2d")
def fcvtxn2(cpu: Cpu, Rn: Value, Rd: Value) -> None:
    value, old = PAIR.read(cpu, Rn), cpu.v[Rd].trunc(64)
    write(cpu, Rd, convert_to_odd(cpu, PAIR, HALF_PAIR, value).zext(128) << 64 | old.zext(128))


@a64.insn("01 1 11110 01 10000 10110 10 Rn:5 Rd:5", "fcvtxn {Rd:s_}, {Rn:d}")
def fcvtxn_scalar(cpu: Cpu, Rn: Value, Rd: Value) -> None:
    source, to = Numbers(DOUBLE, 64), Numbers(SINGLE, 32)
    write(cpu, Rd, convert_to_odd(cpu, source, to, source.read(cpu, Rn)))
