"""Operands that matter: the edges of every format, and random ones in between."""

from __future__ import annotations

import random

from bimetal.isa.describe import Insn
from bimetal.isa.riscv import rv64

from .state import CODE, DATA, Case, State

__all__ = ["INTEGERS", "cases", "instructions"]

INTEGERS = (
    *(0, 1, 2, 7, 8, 31, 32, 63, 64, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF),
    *(0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 32, 1 << 62, (1 << 63) - 1, 1 << 63),
    *((1 << 64) - 1, (1 << 64) - 2, (1 << 64) - (1 << 31), 0x0102_0304_0506_0708),
)


def _edges(width: int, precision: int) -> tuple[int, ...]:
    """Both signs of zero, subnormals, normals, infinity and NaNs of a format, and numbers about
    the limits of integers."""
    unit = 1 << (precision - 1)
    infinity = (1 << (width - 1)) - unit
    one = (infinity >> 1) & -unit
    magnitudes = (
        *(0, 1, 2, unit - 1, unit, unit + 1, one - 1, one, one + 1, one + unit // 2, one - unit),
        *(infinity - 1, infinity, infinity + 1, infinity + unit // 2, infinity + unit // 2 + 1),
        *(one + k * unit + f for k in (1, 22, 30, 31, 32, 52, 62, 63, 64) for f in (0, unit // 2)),
        *(one + 31 * unit - 1, one + 31 * unit + 1, one + 30 * unit - 1),
    )
    finite = {m for m in magnitudes if m < 1 << (width - 1)}
    return tuple(m | sign for m in sorted(finite) for sign in (0, 1 << (width - 1)))


FORMATS = {"h": (16, 11), "s": (32, 24), "d": (64, 53)}
"""Width and precision by the suffix of instructions."""
EDGES = {suffix: _edges(*form) for suffix, form in FORMATS.items()}

_POOL_X = (0, 2, *range(8, 16))
_POOL_F = tuple(range(8, 16))
_NAMES_X = tuple(f"x{n}" for n in _POOL_X if n)
_NAMES_F = tuple(f"f{n}" for n in _POOL_F)


def instructions(*extensions: str) -> list[Insn]:
    """The instructions of some extensions."""
    return [insn for insn in rv64.insns if insn.extension in extensions]


def _fields(insn: Insn, rng: random.Random) -> dict[str, int]:
    """Random fields; registers are those that every executor provides."""
    kinds = dict(insn.template.operands)
    while True:
        fields = {}
        for name, width in insn.pattern.widths.items():
            kind = kinds.get(name)
            if kind is rv64.kinds["x"]:
                fields[name] = rng.choice(_POOL_X)
            elif kind is rv64.kinds["f"]:
                fields[name] = rng.choice(_POOL_F)
            else:
                fields[name] = rng.getrandbits(width) & insn.pattern.field_mask(name)
        if insn.admits(fields):
            return fields


def _integer(rng: random.Random, near: int) -> int:
    kind = rng.random()
    if kind < 0.45:
        return rng.choice(INTEGERS)
    return near if kind < 0.6 else rng.getrandbits(64)


def _number(rng: random.Random, width: int, precision: int) -> int:
    """A number whose exponent lies among those of the 64-bit integers."""
    bias = (1 << (width - precision - 1)) - 1
    exponent = bias + rng.randint(-4, min(66, bias))
    return (
        rng.getrandbits(1) << (width - 1)
        | exponent << (precision - 1)
        | rng.getrandbits(precision - 1) & -(1 << rng.randrange(precision))
    )


def _counterweight(rng: random.Random, width: int, precision: int, other: int) -> int:
    """A number whose product with ``other`` is about the smallest or the largest normal one."""
    largest = (1 << (width - precision)) - 2
    exponent = other >> (precision - 1) & (largest | 1)
    wanted = rng.choice((0, largest)) + largest // 2 - exponent + rng.randint(-2, 2)
    mantissa = rng.getrandbits(precision - 1) & -(1 << rng.randrange(precision))
    return (
        rng.getrandbits(1) << (width - 1)
        | min(max(wanted, 0), largest) << (precision - 1)
        | mantissa
    )


def _float(rng: random.Random, suffix: str, near: int) -> int:
    """An operand in a NaN box; ``near`` is another one, which it may resemble."""
    width, precision = FORMATS[suffix]
    kinds = ("edge", "number", "bits", "near", "counterweight", "unboxed")
    match rng.choices(kinds, (40, 20, 12, 13, 13, 2))[0]:
        case "edge":
            bits = rng.choice(EDGES[suffix])
        case "number":
            bits = _number(rng, width, precision)
        case "bits":
            bits = rng.getrandbits(width)
        case "near":
            bits = near ^ rng.choice((0, 1, 2, 1 << (width - 1), 1 << (precision - 1)))
        case "counterweight":
            bits = _counterweight(rng, width, precision, near)
        case _:
            return rng.getrandbits(64)
    return bits | (1 << 64) - (1 << width)


def _operand_format(insn: Insn) -> str:
    """The suffix of what a floating-point instruction takes; others take anything."""
    suffixes = [part for part in insn.name.split(".")[1:] if part in FORMATS]
    return suffixes[-1] if suffixes else {"flw": "s", "fmv.x.w": "s"}.get(insn.name, "d")


def _state(insn: Insn, fields: dict[str, int], rng: random.Random) -> State:
    registers: dict[str, int] = {}
    near = 0
    for name in _NAMES_X:
        registers[name] = near = _integer(rng, near)
    suffix = _operand_format(insn)
    for name in _NAMES_F:
        registers[name] = near = _float(rng, suffix, near)
    registers |= {"pc": CODE, "frm": rng.randrange(5), "fflags": rng.choice((0, 0, 1, 16, 31))}
    base = _base_register(insn, fields)
    if base is not None:
        offset = rng.randrange(8) * 8 if insn.extension == "a" else rng.randrange(57)
        # An integer register that is an operand as well would be a pointer in memory.
        registers[base] = (DATA + offset - _offset(insn, fields)) % (1 << 64)
    return State(registers, rng.randbytes(64))


def _base_register(insn: Insn, fields: dict[str, int]) -> str | None:
    """The register that holds an address."""
    if "(sp)" in insn.template.text:
        return "x2"
    if "({rs1:x})" in insn.template.text and insn.name != "jalr":
        return f"x{fields['rs1']}"
    return f"x{fields['rs1c'] + 8}" if "({rs1c:xc})" in insn.template.text else None


def _offset(insn: Insn, fields: dict[str, int]) -> int:
    name = "uimm" if "uimm" in fields else "imm"
    value, width = fields.get(name, 0), insn.pattern.widths.get(name, 0)
    return value - (value >> (width - 1) << width) if name == "imm" and width else value


def _usable(insn: Insn, fields: dict[str, int]) -> bool:
    """Whether the base register is one, and no operand of a store."""
    base = _base_register(insn, fields)
    stored = [f"x{fields[n] + bias}" for n, bias in (("rs2", 0), ("rs2c", 8)) if n in fields]
    return base is None or (base != "x0" and (base not in stored or ":f" in insn.template.text))


def cases(insn: Insn, words: int, states: int) -> list[Case]:
    """``words`` encodings of an instruction, each in ``states`` states; always the same ones.

    Rounding modes take turns: the five, and the dynamic one.
    """
    rng = random.Random(insn.template.text)
    made = []
    for n in range(words):
        fields = _fields(insn, rng)
        while not _usable(insn, fields):
            fields = _fields(insn, rng)
        if "rm" in fields:
            fields["rm"] = (0, 1, 2, 3, 4, 7)[n % 6]
        word = insn.pattern.encode(fields)
        text = insn.template.show(fields, insn.pattern.widths, CODE)
        made += [Case(word, text, _state(insn, fields, rng)) for _ in range(states)]
    return made
