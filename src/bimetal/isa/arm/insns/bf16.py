"""Brain floating point (FEAT_BF16): the upper halves of singles. Conversions and products with
single results are like all others; dot products have a rounding of their own."""

from __future__ import annotations

from ....ir.value import Value
from ....ir.vector import element, lanes, shuffle, splat
from ...trace import Cpu
from ..brain import dot, narrowed
from ..fp import SINGLE, Numbers, write
from ..fp_access import need_fp
from ..fp_ops import fused
from ..state import a64

FOUR = Numbers(SINGLE, 128)


@a64.insn("0 0 0 11110 01 1 000110 10000 Rn:5 Rd:5", "bfcvt {Rd:h}, {Rn:s_}")
def bfcvt(cpu: Cpu, Rn: Value, Rd: Value) -> None:
    one = Numbers(SINGLE, 32)
    write(cpu, Rd, narrowed(cpu, one, one.read(cpu, Rn)))


@a64.insn("0 0 0 01110 10 10000 10110 10 Rn:5 Rd:5", "bfcvtn {Rd:v}.4h, {Rn:v}.4s")
def bfcvtn(cpu: Cpu, Rn: Value, Rd: Value) -> None:
    write(cpu, Rd, narrowed(cpu, FOUR, FOUR.read(cpu, Rn)))


@a64.insn("0 1 0 01110 10 10000 10110 10 Rn:5 Rd:5", "bfcvtn2 {Rd:v}.8h, {Rn:v}.4s")
def bfcvtn2(cpu: Cpu, Rn: Value, Rd: Value) -> None:
    low = cpu.v[Rd].trunc(64)
    upper = narrowed(cpu, FOUR, FOUR.read(cpu, Rn))
    write(cpu, Rd, upper.zext(128) << 64 | low.zext(128))


def _long(name: str, q: str) -> None:
    """BFMLALB and BFMLALT: the even or the odd numbers, as singles."""

    def parts(value: Value) -> Value:
        if q == "1":
            return value & FOUR.each(0xFFFF_0000)
        return lanes("shl", 32, value, 16)

    def accumulate(cpu: Cpu, Rd: Value, Rn: Value, factor: Value) -> None:
        write(cpu, Rd, fused(cpu, FOUR, FOUR.read(cpu, Rd), parts(cpu.v[Rn]), factor))

    @a64.insn(
        f"0 {q} 1 01110 11 0 Rm:5 1 1111 1 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.4s, {{Rn:v}}.8h, {{Rm:v}}.8h",
    )
    def by_vector(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        accumulate(cpu, Rd, Rn, parts(cpu.v[Rm]))

    @a64.insn(
        f"0 {q} 0 01111 11 index[1:0] Rm:4 1111 index[2] 0 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.4s, {{Rn:v}}.8h, {{Rm:v}}.h[{{index:u}}]",
    )
    def by_element(cpu: Cpu, index: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        one = element(cpu.v[Rm], 16, index.zext(32)).zext(32) << 16
        accumulate(cpu, Rd, Rn, splat(one, 4))


_long("bfmlalb", "0")
_long("bfmlalt", "1")


def _dot(q: str, sums: str, pairs: str) -> None:
    numbers = Numbers(SINGLE, 128 if q == "1" else 64)

    @a64.insn(
        f"0 {q} 1 01110 01 0 Rm:5 1 1111 1 Rn:5 Rd:5",
        f"bfdot {{Rd:v}}.{sums}, {{Rn:v}}.{pairs}, {{Rm:v}}.{pairs}",
    )
    def by_vector(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        addend, a, b = (numbers.read(cpu, register) for register in (Rd, Rn, Rm))
        write(cpu, Rd, dot(cpu, numbers, addend, (a, b)))

    @a64.insn(
        f"0 {q} 0 01111 01 index[0] Rm:5 1111 index[1] 0 Rn:5 Rd:5",
        f"bfdot {{Rd:v}}.{sums}, {{Rn:v}}.{pairs}, {{Rm:v}}.2h[{{index:u}}]",
    )
    def by_element(cpu: Cpu, index: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        addend, a = (numbers.read(cpu, register) for register in (Rd, Rn))
        b = splat(element(cpu.v[Rm], 32, index.zext(32)), numbers.count)
        write(cpu, Rd, dot(cpu, numbers, addend, (a, b)))


_dot("0", "2s", "4h")
_dot("1", "4s", "8h")


@a64.insn(
    "0 1 1 01110 01 0 Rm:5 1 1101 1 Rn:5 Rd:5",
    "bfmmla {Rd:v}.4s, {Rn:v}.8h, {Rm:v}.8h",
)
def bfmmla(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
    """Two rows of four numbers by two columns of four."""
    need_fp(cpu)
    a, b, found = cpu.v[Rn], cpu.v[Rm], FOUR.read(cpu, Rd)
    for n in (0, 1):
        rows = shuffle(32, (n, n, n + 2, n + 2), a)
        columns = shuffle(32, (n, n + 2, n, n + 2), b)
        found = dot(cpu, FOUR, found, (rows, columns))
    write(cpu, Rd, found)
