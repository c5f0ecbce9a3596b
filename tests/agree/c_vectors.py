"""Random C programs of AArch64 that work on vectors through the intrinsics of Arm's C language
extensions (ACLE, arm_neon.h), and print one number: a checksum.

There are some variables of each type of 128 bits; each statement gives one of them the outcome of
an intrinsic of others. All operations are defined for all operands, NaNs are compared bit by bit.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from .c_programs import FOOTER

__all__ = ["vector_source"]

VARIABLES = 3  # of a type
SHAPES = {
    "u8": "uint8x16_t", "u16": "uint16x8_t", "u32": "uint32x4_t", "u64": "uint64x2_t",
    "s8": "int8x16_t", "s16": "int16x8_t", "s32": "int32x4_t", "s64": "int64x2_t",
    "f16": "float16x8_t", "f32": "float32x4_t", "f64": "float64x2_t",
}  # fmt: skip
INTEGERS = tuple(name for name in SHAPES if name[0] in "us")
NARROW = tuple(name for name in INTEGERS if not name.endswith("64"))
UNSIGNED = tuple(name for name in INTEGERS if name[0] == "u")
SIGNED = tuple(name for name in INTEGERS if name[0] == "s")
FLOATS = ("f16", "f32", "f64")
SAME = {
    INTEGERS: ("add sub and orr eor bic orn qadd qsub zip1 zip2 uzp1 uzp2 trn1 trn2 padd").split(),
    NARROW: "mul min max hadd hsub rhadd abd pmax pmin".split(),
    FLOATS: (
        "add sub mul div min max minnm maxnm abd padd pmax pmaxnm mulx recps rsqrts zip1 uzp2 trn1"
    ).split(),
    ("s16", "s32"): "qdmulh qrdmulh".split(),
}
"""Intrinsics of two operands, all of one type."""

ONE = {
    NARROW: "mvn clz".split(),
    SIGNED: "neg abs qneg qabs".split(),
    ("u8", "s8"): "cnt rbit rev16 rev32 rev64".split(),
    FLOATS: "neg abs sqrt rnd rndn rndm rndp rnda rndi rndx recpe rsqrte".split(),
    ("f32", "f64"): "rnd32z rnd32x rnd64z rnd64x".split(),
    ("u32",): "recpe rsqrte".split(),
}
"""Intrinsics of one operand of the type of the result."""

THREE = {
    NARROW: "mla mls aba".split(),
    FLOATS: "fma fms".split(),
    ("s16", "s32"): "qrdmlah qrdmlsh".split(),
}
"""Intrinsics of three operands of one type."""

COMPARISONS = "ceq cgt cge clt cle".split()
WIDER = {"8": "16", "16": "32", "32": "64"}


class _Writer:
    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.lines: list[str] = []
        self.kinds: Sequence[Callable[[], tuple[str, str]]] = (
            self.same, self.same, self.same, self.one, self.three, self.compared, self.shifted,
            self.shifted_by_constant, self.longer, self.narrower, self.by_lane, self.converted,
            self.selected, self.taken, self.cast, self.ciphered, self.dot, self.from_lane,
        )  # fmt: skip

    def pick(self, names: Sequence[str]) -> str:
        return self.random.choice(names)

    def of(self, kind: str) -> str:
        """A variable of a type."""
        return f"{kind}_{self.random.randrange(VARIABLES)}"

    def listed(self, table: dict[tuple[str, ...], list[str]]) -> tuple[str, str]:
        """A type, and an intrinsic that it has by a table."""
        kinds = self.random.choice([kinds for kinds, names in table.items() if names])
        return self.pick(kinds), self.pick(table[kinds])

    def same(self) -> tuple[str, str]:
        kind, name = self.listed(SAME)
        return kind, f"v{name}q_{kind}({self.of(kind)}, {self.of(kind)})"

    def one(self) -> tuple[str, str]:
        kind, name = self.listed(ONE)
        return kind, f"v{name}q_{kind}({self.of(kind)})"

    def three(self) -> tuple[str, str]:
        kind, name = self.listed(THREE)
        return kind, f"v{name}q_{kind}({self.of(kind)}, {self.of(kind)}, {self.of(kind)})"

    def compared(self) -> tuple[str, str]:
        kind = self.pick(tuple(SHAPES))
        name = self.pick(COMPARISONS)
        return f"u{kind[1:]}", f"v{name}q_{kind}({self.of(kind)}, {self.of(kind)})"

    def shifted(self) -> tuple[str, str]:
        kind, name = self.pick(INTEGERS), self.pick("shl qshl rshl qrshl".split())
        return kind, f"v{name}q_{kind}({self.of(kind)}, {self.of(f's{kind[1:]}')})"

    def shifted_by_constant(self) -> tuple[str, str]:
        kind = self.pick(INTEGERS)
        bits = int(kind[1:])
        right = self.random.randrange(1, bits + 1)
        if self.random.random() < 0.5:
            name = self.pick("sra rsra sri".split())
            return kind, f"v{name}q_n_{kind}({self.of(kind)}, {self.of(kind)}, {right})"
        name, count = self.random.choice(
            (("shr", right), ("rshr", right), ("shl", bits - right), ("qshl", bits - right))
        )
        return kind, f"v{name}q_n_{kind}({self.of(kind)}, {count})"

    def longer(self) -> tuple[str, str]:
        """Operations on half of the lanes, with outcomes twice as wide."""
        kind = self.pick(NARROW)
        wide = kind[0] + WIDER[kind[1:]]
        a, b = self.of(kind), self.of(kind)
        match self.random.randrange(5):
            case 0:
                name = self.pick("mull addl subl abdl".split())
                return wide, f"v{name}_high_{kind}({a}, {b})"
            case 1:
                name = self.pick("mlal mlsl abal".split())
                return wide, f"v{name}_high_{kind}({self.of(wide)}, {a}, {b})"
            case 2:
                name = self.pick("mull addl subl abdl".split())
                return wide, f"v{name}_{kind}(vget_low_{kind}({a}), vget_high_{kind}({b}))"
            case 3:
                return wide, f"vpaddlq_{kind}({a})"
        return wide, f"vpadalq_{kind}({self.of(wide)}, {a})"

    def narrower(self) -> tuple[str, str]:
        kind = self.pick(NARROW)
        wide = kind[0] + WIDER[kind[1:]]
        name = self.pick("movn qmovn".split())
        low, high = (f"v{name}_{wide}({self.of(wide)})" for _ in range(2))
        return kind, f"vcombine_{kind}({low}, {high})"

    def by_lane(self) -> tuple[str, str]:
        kind = self.pick(("u16", "s16", "u32", "s32", *FLOATS))
        lane = self.random.randrange(128 // int(kind[1:]))
        return kind, f"vmulq_laneq_{kind}({self.of(kind)}, {self.of(kind)}, {lane})"

    def converted(self) -> tuple[str, str]:
        real = self.pick(FLOATS)
        bits = real[1:]
        whole = self.pick(("u", "s")) + bits
        if self.random.random() < 0.5:
            return real, f"vcvtq_{real}_{whole}({self.of(whole)})"
        way = self.pick(("", "n", "m", "p", "a"))
        return whole, f"vcvt{way}q_{whole}_{real}({self.of(real)})"

    def selected(self) -> tuple[str, str]:
        kind = self.pick(tuple(SHAPES))
        mask = self.of(f"u{kind[1:]}")
        return kind, f"vbslq_{kind}({mask}, {self.of(kind)}, {self.of(kind)})"

    def taken(self) -> tuple[str, str]:
        kind = self.pick(tuple(SHAPES))
        lane = self.random.randrange(128 // int(kind[1:]))
        if self.random.random() < 0.3:
            return "u8", f"vqtbl1q_u8({self.of('u8')}, {self.of('u8')})"
        return kind, f"vextq_{kind}({self.of(kind)}, {self.of(kind)}, {lane})"

    def cast(self) -> tuple[str, str]:
        kind, other = self.random.sample(tuple(SHAPES), 2)
        return kind, f"vreinterpretq_{kind}_{other}({self.of(other)})"

    def ciphered(self) -> tuple[str, str]:
        a, b = self.of("u8"), self.of("u8")
        words = ", ".join(self.of("u32") for _ in range(3))
        one, other = (f"vgetq_lane_u64({self.of('u64')}, {lane})" for lane in range(2))
        longs = ", ".join(self.of("u64") for _ in range(3))
        return self.random.choice(
            (
                ("u8", f"{self.pick(('vaeseq', 'vaesdq'))}_u8({a}, {b})"),
                ("u8", f"{self.pick(('vaesmcq', 'vaesimcq'))}_u8({a})"),
                ("u32", f"{self.pick(('vsha256hq', 'vsha256h2q', 'vsha256su1q'))}_u32({words})"),
                ("u64", f"{self.pick(('vsha512hq', 'vsha512h2q', 'vsha512su1q'))}_u64({longs})"),
                ("u8", f"veor3q_u8({a}, {b}, {self.of('u8')})"),
                ("u64", f"vrax1q_u64({self.of('u64')}, {self.of('u64')})"),
                ("u8", f"vreinterpretq_u8_p128(vmull_p64({one}, {other}))"),
            )
        )

    def dot(self) -> tuple[str, str]:
        sign = self.pick("us")
        name = self.pick(("dot", "mmla"))
        wide, narrow = f"{sign}32", f"{sign}8"
        operands = f"{self.of(wide)}, {self.of(narrow)}, {self.of(narrow)}"
        return wide, f"v{name}q_{wide}({operands})"

    def from_lane(self) -> tuple[str, str]:
        kind = self.pick(tuple(SHAPES))
        lanes = 128 // int(kind[1:])
        lane, at = self.random.randrange(lanes), self.random.randrange(lanes)
        if kind == "f16" or self.random.random() < 0.5:  # of halves, GCC 12 copies no lanes
            return kind, f"vdupq_laneq_{kind}({self.of(kind)}, {lane})"
        return kind, f"vcopyq_laneq_{kind}({self.of(kind)}, {at}, {self.of(kind)}, {lane})"

    def statement(self) -> None:
        kind, value = self.random.choice(self.kinds)()
        self.lines.append(f"        {self.of(kind)} = {value};")


def vector_source(seed: int, turns: int = 20, count: int = 60) -> str:
    """The text of a program: a loop of ``count`` statements that is entered ``turns`` times."""
    writer = _Writer(seed)
    for _ in range(count):
        writer.statement()
    names = [(kind, f"{kind}_{n}") for kind in SHAPES for n in range(VARIABLES)]
    values = "\n".join(
        f"    {SHAPES[kind]} {name} = vreinterpretq_{kind}_u64(some());"
        if kind != "u64"
        else f"    {SHAPES[kind]} {name} = some();"
        for kind, name in names
    )
    sums = "\n".join(
        f"        add({f'vreinterpretq_u64_{kind}({name})' if kind != 'u64' else name});"
        for kind, name in names
    )
    body = "\n".join(writer.lines)
    return f"""\
#include <arm_neon.h>
#include "calls.h"

typedef unsigned long u64;

static u64 state = {seed + 1}, sum;

static u64 next(void)
{{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}}

static uint64x2_t some(void)
{{
    return vcombine_u64(vcreate_u64(next()), vcreate_u64(next()));
}}

static void add(uint64x2_t value)
{{
    sum = sum * 31 + vgetq_lane_u64(value, 0), sum = sum * 31 + vgetq_lane_u64(value, 1);
}}

static u64 run(void)
{{
{values}
    for (int turn = 0; turn < {turns}; turn++) {{
{body}
{sums}
    }}
    return sum;
}}

{FOOTER}"""
