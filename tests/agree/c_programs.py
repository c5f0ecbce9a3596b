"""Random C programs that end, have no undefined behaviour, and print one number: a checksum.

Integers are unsigned, so they wrap; shifts and divisors are masked; indices are masked to the size
of the arrays; every loop counts to a constant. Some integers have 128 bits, and some updates are
atomic. Floating point is checked bit by bit, so the same operations in the same order must give the
same bits (``-ffp-contract`` is the compiler's to choose, once for all who run the program).
Functions call only functions written before them.
"""

from __future__ import annotations

import random

__all__ = ["FOOTER", "random_source"]

_SIZE = 16  # of the arrays, a power of two
_UNSIGNED = ("u8", "u16", "u32", "u64")
_BINARY = ("+", "-", "*", "&", "|", "^")
_COMPARE = ("<", ">", "<=", ">=", "==", "!=")

_HEADER = f"""\
#include "calls.h"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef int i32;
typedef long i64;
typedef unsigned __int128 u128;
typedef __int128 i128;

static u8 a0[{_SIZE}];
static u16 a1[{_SIZE}];
static u32 a2[{_SIZE}];
static u64 a3[{_SIZE}];
static double d[{_SIZE}];
static float f[{_SIZE}];

static u64 bits(double x)
{{
    union {{ double d; u64 u; }} cast;
    cast.d = x;
    return x == x ? cast.u : 1;  /* which NaN it is, is nobody's business */
}}
"""

FOOTER = """\
void work(void)
{
    static char text[17];
    u64 sum = run();
    for (int i = 0; i < 16; i++)
        text[i] = "0123456789abcdef"[sum >> (60 - 4 * i) & 15];
    text[16] = '\\n';
    call(WRITE, 1, (long)text, 17);
    call(EXIT, 0, 0, 0);
}

ENTER_ON_STACK(work);
"""


_HALVES = f"""\
static _Float16 h[{_SIZE}];
"""


class _Writer:
    def __init__(self, seed: int, iterations: int, halves: bool):
        self.random = random.Random(seed)
        self.reals = "dfh" if halves else "df"
        self.iterations = iterations
        self.lines: list[str] = []
        self.depth = 1
        self.loops = 0
        self.functions: list[str] = []
        self.cost = 1

    def put(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    # -- expressions
    def leaf(self) -> str:
        pick = self.random.randrange(5)
        if pick == 0:
            return (
                f"{self.random.choice((0, 1, 255, 0x7FFF, 0xDEAD_BEEF, (1 << 64) - 1, 1 << 63))}UL"
            )
        if pick == 1:
            return self.element()
        return f"v{self.random.randrange(4)}"

    def element(self) -> str:
        return f"a{self.random.randrange(4)}[{self.index()}]"

    def index(self) -> str:
        return f"v{self.random.randrange(4)} & {_SIZE - 1}"

    def integer(self, depth: int = 3) -> str:
        """An expression of type u64."""
        if depth == 0:
            return f"(u64){self.leaf()}"
        a, b = self.integer(depth - 1), self.integer(depth - 1)
        match self.random.randrange(12):
            case 0:
                return f"({a} {self.random.choice('/%')} ({b} | 1))"
            case 1:
                return f"(u64)((i64){a} {self.random.choice('/%')} (i64)(({b} & 1023) + 2))"
            case 2:
                return f"({a} << ({b} & 63))"
            case 3:
                return f"({a} >> ({b} & 63))"
            case 4:
                return f"(u64)((i32){a} >> ({b} & 31))"
            case 5:
                sign = self.random.choice(("u64", "i64", "u32", "i32"))
                return f"(u64)(({sign}){a} {self.random.choice(_COMPARE)} ({sign}){b})"
            case 6:
                return f"(u64)({self.random.choice((*_UNSIGNED, 'i32'))}){a}"
            case 7:
                return f"({a} {self.random.choice('<>')} {b} ? {a} : {b})"
            case 8:
                return self.wide(a, b)
        return f"({a} {self.random.choice(_BINARY)} {b})"

    def wide(self, a: str, b: str) -> str:
        """An expression of 128 bits that ends as u64."""
        sign = self.random.choice(("u128", "i128"))
        match self.random.randrange(5):
            case 0:
                return f"(u64)(({sign})(i64){a} * ({sign})(i64){b} >> {self.random.randrange(64)})"
            case 1:
                return f"(u64)((((u128){a} << 64 | {b}) {self.random.choice('/%')} ({b} | 1)))"
            case 2:
                return f"(u64)(((u128){a} << 64 | {b}) >> ({a} & 127))"
            case 3:
                compared = self.random.choice(_COMPARE)
                return f"(u64)(({sign})(i64){a} + {b} {compared} ({sign})(i64){b})"
        return f"(u64)(((u128){a} * {b} + {a} - ((u128){b} << 32)) >> 64)"

    def real(self, depth: int = 2) -> str:
        """An expression of type double."""
        if depth == 0:
            choices = (
                f"d[{self.index()}]",
                f"{self.random.choice(self.reals)}[{self.index()}]",
                "0.5",
                "-3.25",
                "1e300",
                "1e-310",
            )
            return self.random.choice(choices)
        a, b = self.real(depth - 1), self.real(depth - 1)
        match self.random.randrange(6):
            case 0:
                return f"(double)(i64){self.integer(1)}"
            case 1:
                return f"(double)(float){a}"
            case 2:
                return f"({a} {self.random.choice('<>')} {b} ? {a} : {b})"
        return f"({a} {self.random.choice('+-*/')} {b})"

    # -- statements
    def statement(self) -> None:
        pick = self.random.random()
        if pick < 0.35:
            op = self.random.choice(("=", "+=", "^=", "-=", "*="))
            self.put(f"{self.target()} {op} {self.integer(2)};")
        elif pick < 0.45:
            array = self.random.choice(self.reals)
            self.put(f"{array}[{self.index()}] = {self.real()};")
        elif pick < 0.48:
            self.atomic()
        elif pick < 0.52:
            self.put(f"v{self.random.randrange(4)} ^= bits({self.real(1)});")
        elif pick < 0.65:
            self.branch()
        elif pick < 0.75:
            self.switch()
        elif pick < 0.88:
            self.loop()
        else:
            self.call()

    def atomic(self) -> None:
        """An update that others would see as one, here of an array's element."""
        place = f"&a{self.random.choice('23')}[{self.index()}]"
        order = self.random.choice(("RELAXED", "ACQUIRE", "RELEASE", "ACQ_REL", "SEQ_CST"))
        kind = self.random.choice(("add", "sub", "and", "or", "xor", "nand"))
        way = self.random.choice((f"fetch_{kind}", f"{kind}_fetch", "exchange_n"))
        changed = f"__atomic_{way}({place}, {self.integer(1)}, __ATOMIC_{order})"
        self.put(f"v{self.random.randrange(4)} += {changed};")

    def target(self) -> str:
        return self.element() if self.random.random() < 0.4 else f"v{self.random.randrange(4)}"

    def block(self, count: int) -> None:
        self.depth += 1
        for _ in range(count):
            self.statement()
        self.depth -= 1

    def branch(self) -> None:
        self.put(f"if ({self.integer(1)} {self.random.choice(_COMPARE)} {self.integer(1)}) {{")
        self.block(self.random.randrange(1, 3))
        if self.random.random() < 0.5:
            self.put("} else {")
            self.block(1)
        self.put("}")

    def switch(self) -> None:
        count = self.random.choice((4, 8))
        self.put(f"switch ({self.integer(1)} & {count - 1}) {{")
        for n in range(count - 1):
            self.put(f"case {n}:")
            self.depth += 1
            self.put(f"{self.target()} ^= {self.integer(1)};")
            if self.random.random() < 0.7:
                self.put("break;")
            self.depth -= 1
        self.put("default:")
        self.put(f"    v{self.random.randrange(4)}++;")
        self.put("}")

    def loop(self) -> None:
        turns = self.random.randrange(2, 9)
        if self.cost * turns > self.iterations or self.depth > 5:
            self.put(f"v{self.random.randrange(4)} += {self.integer(2)};")
            return
        name, self.loops = f"i{self.loops}", self.loops + 1
        self.put(f"for (u64 {name} = 0; {name} < {turns}; {name}++) {{")
        self.cost *= turns
        self.block(self.random.randrange(1, 4))
        self.depth += 1
        self.put(f"v{self.random.randrange(4)} += {name};")
        self.depth -= 1
        self.cost //= turns
        self.put("}")

    def call(self) -> None:
        if not self.functions or self.cost > self.iterations // 8:
            return
        if self.random.random() < 0.5:
            callee = self.random.choice(self.functions)
        else:
            callee = f"table[{self.integer(1)} % {len(self.functions)}]"
        self.put(f"v{self.random.randrange(4)} ^= {callee}({self.integer(1)}, {self.integer(1)});")

    # -- the program
    def function(self, name: str, count: int) -> None:
        kind = self.random.choice(("static u64", "__attribute__((noinline)) static u64"))
        if self.functions:
            names = ", ".join(self.functions)
            self.put_out(f"static u64 (*const table_{name}[])(u64, u64) = {{ {names} }};")
            self.put_out(f"#define table table_{name}")
        self.put_out(f"{kind} {name}(u64 v0, u64 v1)")
        self.put_out("{")
        self.put("u64 v2 = v0 ^ 0x9E3779B97F4A7C15UL, v3 = v1 + 1;")
        for _ in range(count):
            self.statement()
        self.put("return v0 ^ v1 ^ v2 ^ v3;")
        self.put_out("}")
        if self.functions:
            self.put_out("#undef table")
        self.functions.append(name)

    def put_out(self, text: str) -> None:
        self.lines.append(text)


def random_source(seed: int, iterations: int = 200, halves: bool = False) -> str:
    """The text of a program; ``iterations`` bounds how often its innermost loops turn. With
    ``halves`` it computes in half precision too."""
    w = _Writer(seed, iterations, halves)
    for n in range(w.random.randrange(2, 5)):
        w.function(f"g{n}", w.random.randrange(3, 8))
    w.put_out("static u64 run(void)")
    w.put_out("{")
    w.put(f"for (int i = 0; i < {_SIZE}; i++)")
    w.put("    a0[i] = a1[i] = a2[i] = a3[i] = 77 * i, d[i] = i - 7.5, f[i] = 1.0f / (i + 1);")
    if halves:
        w.put(f"for (int i = 0; i < {_SIZE}; i++) h[i] = 100.0f - 13.25f * i;")
    w.put("u64 sum = 0;")
    w.put("for (u64 turn = 0; turn < 4; turn++)")
    calls = " + ".join(f"{name}(turn, sum)" for name in w.functions)
    w.put(f"    sum = sum * 31 + {calls};")
    w.put(f"for (int i = 0; i < {_SIZE}; i++)")
    reals = " + ".join(f"bits({name}[i])" for name in w.reals)
    w.put(f"    sum = sum * 31 + a0[i] + a1[i] + a2[i] + a3[i] + {reals};")
    w.put("return sum;")
    w.put_out("}")
    return "\n".join((_HEADER, _HALVES if halves else "", *w.lines, "", FOOTER))
