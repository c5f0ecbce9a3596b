"""Litmus tests of RVWMO (volume I, chapter 17 and appendix A), named as in herd's suite.

x is at s0 and y at s1; t1 and t2 hold 1 and 2. What a hart reads it leaves in a0 and a1.
"""

from __future__ import annotations

from collections.abc import Callable

from bimetal.isa.riscv import rv64

from .litmus import READ_SIZE, Dialect, Litmus
from .litmus_shapes import SHAPES, Access, Order, Orders, tests

__all__ = ["DIALECT", "TESTS"]

FRAME = """
meet:
    addi s5, s5, {cpus}
    amoadd.w zero, t1, (s4)
again:
    addi t4, s9, 0
look:
    amoor.w t3, zero, (s4)
    bge t3, s5, {met}
    addi t4, t4, -1
    bne t4, zero, {look}
    lw t3, 0(a7)
    jal zero, {again}
met:
    addi s6, s8, 0
round:
    slli t3, s7, 13
    xor s7, s7, t3
    srli t3, s7, 7
    xor s7, s7, t3
    slli t3, s7, 17
    xor s7, s7, t3
    andi t3, s7, 15
delay:
    addi t3, t3, -1
    bge t3, zero, {delay}
    addi a0, zero, 0
    addi a1, zero, 0
    {test}
end:
    sw a0, 0(s2)
    sw a1, 4(s2)
    addi s0, s0, {stride}
    addi s1, s1, {stride}
    addi s2, s2, {stride}
    addi s6, s6, -1
    bne s6, zero, {round}
    addi s3, s3, -1
    bne s3, zero, {meet}
    sw zero, 0(a7)
"""
"""Some turns of an empty loop are before each round, so that harts meet in different places."""

DIALECT = Dialect(
    isa="riscv64",
    assemble=rv64.assemble,
    frame=FRAME,
    registers={
        "x": "s0", "y": "s1", "read": "s2", "barrier": "s4", "leave": "a7", "patience": "s9",
        "meetings": "s3", "together": "s8", "seed": "s7", "one": "t1", "two": "t2",
    },
)  # fmt: skip

WORD = {"x": "s0", "y": "s1"}
assert READ_SIZE >= 8


def _plain(access: Access, result: str = "a0") -> str:
    if access.kind == "R":
        return f"lw {result}, 0({WORD[access.word]})"
    return f"sw t{access.value}, 0({WORD[access.word]})"


def _second(first: Access) -> str:
    return "a1" if first.kind == "R" else "a0"


def _alone(access: Access, _: Access) -> tuple[str, ...]:
    return (_plain(access),)


def _between(*lines: str) -> Order:
    return lambda a, b: (_plain(a), *lines, _plain(b, _second(a)))


def _address(a: Access, b: Access) -> tuple[str, ...]:
    """The second address depends on what is read first."""
    moved = ("xor t3, a0, a0", f"add t3, t3, {WORD[b.word]}")
    return (_plain(a), *moved, "lw a1, 0(t3)" if b.kind == "R" else f"sw t{b.value}, 0(t3)")


def _data(a: Access, b: Access) -> tuple[str, ...]:
    """What is written depends on what is read."""
    return (_plain(a), "xor t3, a0, a0", f"addi t3, t3, {b.value}", f"sw t3, 0({WORD[b.word]})")


def _control(a: Access, b: Access) -> tuple[str, ...]:
    """What is written is written behind a branch that depends on what is read."""
    return (_plain(a), "bltu a0, zero, {end}", _plain(b))


def _reserved(a: Access, b: Access) -> tuple[str, ...]:
    return (f"lr.w.aq a0, ({WORD[a.word]})", _plain(b, "a1"))


def _or_acquires(a: Access, b: Access) -> tuple[str, ...]:
    return (f"amoor.w.aq a0, zero, ({WORD[a.word]})", _plain(b, "a1"))


def _swap_releases(a: Access, b: Access) -> tuple[str, ...]:
    return (_plain(a), f"amoswap.w.rl zero, t{b.value}, ({WORD[b.word]})")


def _swap_orders_all(a: Access, b: Access) -> tuple[str, ...]:
    return (f"amoswap.w.aqrl zero, t{a.value}, ({WORD[a.word]})", _plain(b))


def _conditional_releases(a: Access, b: Access) -> tuple[str, ...]:
    place = f"({WORD[b.word]})"
    written = (f"lr.w t3, {place}", f"sc.w.rl t4, t{b.value}, {place}")
    return (_plain(a), "retry:", *written, "bne t4, zero, {retry}")


def _fences(*names: str) -> dict[str, Order]:
    return {f"fence.{name.replace(', ', '.')}": _between(f"fence {name}") for name in names}


_TSO = {"fence.tso": _between("fence.tso")}
ORDERS: Orders = {
    "WW": {
        **_fences("rw, rw", "w, w", "rw, w"), **_TSO,
        "amo.rl": _swap_releases, "sc.rl": _conditional_releases,
    },
    "RR": {
        **_fences("rw, rw", "r, r", "r, rw"), **_TSO,
        "addr": _address, "lr.aq": _reserved, "amo.aq": _or_acquires,
    },
    "RW": {
        **_fences("rw, rw", "r, w", "r, rw", "rw, w"), **_TSO,
        "addr": _address, "data": _data, "ctrl": _control, "lr.aq": _reserved,
        "amo.aq": _or_acquires, "amo.rl": _swap_releases,
    },
    "WR": {**_fences("rw, rw", "w, r"), "amo.aqrl": _swap_orders_all},
}  # fmt: skip

# 0, after a while, in t4: nobody can know that t1 is 1.
_DELAY = ("remu t4, t2, t1", *("add t4, t4, t1", "remu t4, t2, t4") * 4)


def _early(name: str, *reader: str) -> Litmus:
    """Message passing to a hart that has read x before, which invites a compiler to take the value
    that it has already, and that comes to y, at t4, a while later."""
    writer = (_plain(Access("W", "x")), "fence w, w", _plain(Access("W", "y")))
    first = ("lw a2, 0(s0)", *_DELAY, "add t4, t4, s1")
    lines = (writer, (*first, *reader))
    return Litmus(f"MP+fence.w.w+early-{name}", lines, SHAPES["MP"].forbidden, close=True)


_LR_SC = ("lr.w t3, (s0)", "addi t4, t3, 1", "sc.w a1, t4, (s0)", "addi a0, t3, 0")
Forbidden = Callable[[tuple[int, ...]], bool]


def _of(name: str, forbidden: Forbidden, *lines: tuple[str, ...]) -> Litmus:
    return Litmus(name, lines, forbidden)


TESTS = (
    *(test for shape in SHAPES.values() for test in tests(shape, ORDERS, _alone)),
    _early("addr", "lw a0, 0(t4)", "xor t3, a0, a0", "add t3, t3, s0", "lw a1, 0(t3)"),
    _early("fence", "lw a0, 0(t4)", "fence r, r", "lw a1, 0(s0)"),
    _early("lr.aq", "lr.w.aq a0, (t4)", "lw a1, 0(s0)"),
    _early("amo.aq", "amoor.w.aq a0, zero, (t4)", "lw a1, 0(s0)"),
    _of(
        "CoRR", lambda o: o[2:4] == (1, 0),
        ("sw t1, 0(s0)",), ("lw a0, 0(s0)", "lw a1, 0(s0)"),
    ),
    _of(
        "CoRW+WR", lambda o: o[0] == 0 or (o[0] == 2 and o[4] == 1),
        ("sw t1, 0(s0)", "lw a0, 0(s0)"), ("sw t2, 0(s0)",),
    ),
    _of(  # both succeed from the same value, or the count is not that of the successes
        "LR+SC",
        lambda o: o[4] != (o[1] == 0) + (o[3] == 0) or (o[1] == o[3] == 0 and o[0] == o[2]),
        *(_LR_SC,) * 2,
    ),
    _of("LR+SC x 4", lambda o: o[8] != sum(sc == 0 for sc in o[1:8:2]), *(_LR_SC,) * 4),
    _of(
        "AMO+AMO",
        lambda o: sorted(o[:4]) != [0, 1, 2, 3] or o[4] != 4 or o[0] > o[1] or o[2] > o[3],
        *(("amoadd.w a0, t1, (s0)", "amoadd.w a1, t1, (s0)"),) * 2,
    ),
    _of(
        "AMO x 4", lambda o: sorted(o[:8]) != list(range(8)) or o[8] != 8,
        *(("amoadd.w a0, t1, (s0)", "amoadd.w.aqrl a1, t1, (s0)"),) * 4,
    ),
)  # fmt: skip
