"""Litmus tests of Arm's memory model (B2.3; aarch64.cat), named as in herd's suite.

x is at x9 and y at x10; w1 and w2 hold 1 and 2. What a CPU reads it leaves in w3 and w4. Which
pairs of accesses are kept in order is said by *lob*, and *ob* must have no cycle.
"""

from __future__ import annotations

from collections.abc import Callable

from bimetal.isa.arm import a64

from ..litmus import READ_SIZE, Dialect, Litmus
from ..litmus_shapes import SHAPES, Access, Order, Orders, tests

__all__ = ["DIALECT", "TESTS"]

FRAME = """
meet:
    add w20, w20, {cpus}
    ldaddal w1, wzr, [x12]
again:
    orr w21, wzr, w14
look:
    ldar w5, [x12]
    subs wzr, w5, w20
    b.ge {met}
    subs w21, w21, 1
    b.ne {look}
    ldr w5, [x13, 0]
    b {again}
met:
    orr w22, wzr, w16
round:
    eor w17, w17, w17, lsl 13
    eor w17, w17, w17, lsr 17
    eor w17, w17, w17, lsl 5
    and w5, w17, 0xf
delay:
    subs w5, w5, 1
    b.ge {delay}
    movz w3, 0
    movz w4, 0
    {test}
end:
    stp w3, w4, [x11, 0]
    add x9, x9, {stride}
    add x10, x10, {stride}
    add x11, x11, {stride}
    subs w22, w22, 1
    b.ne {round}
    subs w15, w15, 1
    b.ne {meet}
    str wzr, [x13, 0]
"""
"""Some turns of an empty loop are before each round, so that CPUs meet in different places."""

DIALECT = Dialect(
    isa="aarch64",
    assemble=a64.assemble,
    frame=FRAME,
    registers={
        "x": "x9", "y": "x10", "read": "x11", "barrier": "x12", "leave": "x13", "patience": "x14",
        "meetings": "x15", "together": "x16", "seed": "x17", "one": "x1", "two": "x2",
    },
)  # fmt: skip

WORD = {"x": "x9", "y": "x10"}
assert READ_SIZE >= 8
BARRIERS = {"dmb.sy": "dmb 0xf", "dmb.ish": "dmb 0xb", "dsb.ish": "dsb 0xb"}
LOADS, STORES = {"dmb.ishld": "dmb 0x9"}, {"dmb.ishst": "dmb 0xa"}


def _place(access: Access, offset: str = "") -> str:
    return f"[{WORD[access.word]}{offset}]"


def _plain(access: Access, result: str = "w3") -> str:
    if access.kind == "R":
        return f"ldr {result}, {_place(access, ', 0')}"
    return f"str w{access.value}, {_place(access, ', 0')}"


def _second(a: Access, b: Access) -> str:
    """The second access, if nothing is special about it."""
    return _plain(b, "w4" if a.kind == "R" else "w3")


def _alone(access: Access, _: Access) -> tuple[str, ...]:
    return (_plain(access),)


def _between(table: dict[str, str]) -> dict[str, Order]:
    def order(line: str) -> Order:
        return lambda a, b: (_plain(a), line, _second(a, b))

    return {name: order(line) for name, line in table.items()}


def _first(text: str) -> Order:
    """The first access is another instruction: ``{place}``, and ``{value}`` if it writes."""
    return lambda a, b: (
        *text.format(place=_place(a), at=WORD[a.word], value=f"w{a.value}").split("; "),
        _second(a, b),
    )


def _last(text: str) -> Order:
    """The same of the second access."""
    return lambda a, b: (
        _plain(a),
        *text.format(place=_place(b), at=WORD[b.word], value=f"w{b.value}", retry="{retry}").split(
            "; "
        ),
    )


def _release_acquire(load: str) -> Order:
    return lambda a, b: (f"stlr w{a.value}, {_place(a)}", f"{load} w3, {_place(b)}")


def _address(a: Access, b: Access) -> tuple[str, ...]:
    """The second address depends on what is read first."""
    place = _place(b, ", w5, uxtw")
    moved = f"ldr w4, {place}" if b.kind == "R" else f"str w{b.value}, {place}"
    return (_plain(a), "eor w5, w3, w3", moved)


def _address_before(a: Access, b: Access) -> tuple[str, ...]:
    """The address of a load between the two does: what follows it is not written before."""
    return (_plain(a), "eor w5, w3, w3", "ldr w6, [x11, w5, uxtw]", _plain(b))


def _data(a: Access, b: Access) -> tuple[str, ...]:
    """What is written depends on what is read."""
    return (_plain(a), "eor w5, w3, w3", f"add w5, w5, {b.value}", f"str w5, {_place(b, ', 0')}")


def _control(*then: str) -> Order:
    """The second access stands behind a branch that depends on what is read."""
    return lambda a, b: (_plain(a), "eor w5, w3, w3", "cbnz w5, {end}", *then, _second(a, b))


ACQUIRING: dict[str, Order] = {
    "ldar": _first("ldar w3, {place}"),
    "ldapr": _first("ldapr w3, {place}"),
    "ldapur": _first("ldapur w3, [{at}, 0]"),
    "ldaxr": _first("ldaxr w3, {place}"),
    "ldadda": _first("ldadda wzr, w3, {place}"),
    "casa": _first("casa w3, wzr, {place}"),
    "ctrl+isb": _control("isb 0xf"),
}
RELEASING: dict[str, Order] = {
    "stlr": _last("stlr {value}, {place}"),
    "stlur": _last("stlur {value}, [{at}, 0]"),
    "swpl": _last("swpl {value}, w5, {place}"),
    "stlxr": _last("retry:; ldxr w5, {place}; stlxr w6, {value}, {place}; cbnz w6, {retry}"),
}
WHOLE: dict[str, Order] = {
    "swpal": _first("swpal {value}, w5, {place}"),
    "casal": _first("movz w6, 0; casal w6, {value}, {place}"),
}
"""Atomic updates that acquire and release: all that follows comes after what they write."""

ORDERS: Orders = {
    "WW": {**_between(BARRIERS | STORES), **RELEASING, "swpal": WHOLE["swpal"]},
    "RR": {**_between(BARRIERS | LOADS), **ACQUIRING, "addr": _address},
    "RW": {
        **_between(BARRIERS | LOADS), **ACQUIRING, **RELEASING,
        "addr": _address, "addr+po": _address_before, "data": _data, "ctrl": _control(),
    },
    "WR": {
        **_between(BARRIERS), **WHOLE,
        "stlr+ldar": _release_acquire("ldar"), "stlr+ldaxr": _release_acquire("ldaxr"),
    },
}  # fmt: skip

# 0, after a while, in w7: nobody can know that w1 is 1.
_DELAY = ("udiv w7, w2, w1", *("udiv w7, w7, w1", "msub w7, w7, w1, w7") * 4)


def _early(name: str, *reader: str) -> Litmus:
    """Message passing to a CPU that has read x before, which invites a compiler to take the value
    that it has already, and that comes to y, at x7, a while later."""
    writer = (_plain(Access("W", "x")), "dmb 0xa", _plain(Access("W", "y")))
    first = ("ldr w6, [x9, 0]", *_DELAY, "add x7, x10, x7")
    lines = (writer, (*first, *reader))
    return Litmus(f"MP+dmb.ishst+early-{name}", lines, SHAPES["MP"].forbidden, close=True)


EARLY = (
    _early("addr", "ldr w3, [x7, 0]", "eor w5, w3, w3", "ldr w4, [x9, w5, uxtw]"),
    *(
        _early(line.split()[0], line, "ldr w4, [x9, 0]")
        for line in (
            "ldar w3, [x7]", "ldapr w3, [x7]", "ldaxr w3, [x7]", "ldseta wzr, w3, [x7]",
            "casa w3, wzr, [x7]",
        )
    ),
    _early("dmb.ishld", "ldr w3, [x7, 0]", "dmb 0x9", "ldr w4, [x9, 0]"),
    _early("ctrl+isb", "ldr w3, [x7, 0]", "cbz w3, {end}", "isb 0xf", "ldr w4, [x9, 0]"),
)  # fmt: skip

Forbidden = Callable[[tuple[int, ...]], bool]


def _of(name: str, forbidden: Forbidden, *lines: tuple[str, ...]) -> Litmus:
    return Litmus(name, lines, forbidden)


COHERENCE = (
    _of(
        "CoRR", lambda o: o[2:4] == (1, 0),
        ("str w1, [x9, 0]",), ("ldr w3, [x9, 0]", "ldr w4, [x9, 0]"),
    ),
    _of(
        "CoRW+WR", lambda o: o[0] == 0 or (o[0] == 2 and o[4] == 1),
        ("str w1, [x9, 0]", "ldr w3, [x9, 0]"), ("str w2, [x9, 0]",),
    ),
    _of(
        "CoWW", lambda o: o[2] > o[3] or o[4] != 2,
        ("str w1, [x9, 0]", "str w2, [x9, 0]"), ("ldr w3, [x9, 0]", "ldr w4, [x9, 0]"),
    ),
)  # fmt: skip

_BOTH = ("orr x5, x1, x1, lsl 32",)
_SPLIT = ("orr w3, wzr, w6", "ubfm x4, x6, 32, 63")
MIXED = (
    _of(  # what is stored at once is seen at once
        "MP+x+x", lambda o: o[2] != o[3],
        (*_BOTH, "str x5, [x9, 0]"), ("ldr x6, [x9, 0]", *_SPLIT),
    ),
    _of(
        "MP+stlr.x+ldar.x", lambda o: o[2] != o[3],
        (*_BOTH, "stlr x5, [x9]"), ("ldar x6, [x9]", *_SPLIT),
    ),
    _of(  # of a word's halves, one that has been seen is not forgotten in the whole
        "CoRR+h+w", lambda o: o[2:4] == (1, 0),
        ("str w1, [x9, 0]",), ("ldrh w3, [x9, 0]", "ldr w4, [x9, 0]"),
    ),
    _of(
        "CoRR+w+b", lambda o: o[2:4] == (1, 0),
        ("strb w1, [x9, 0]",), ("ldr w3, [x9, 0]", "ldrb w4, [x9, 0]"),
    ),
    _of(
        "MP+dmb.ishst.hb+dmb.ishld.bw", lambda o: o[2:4] == (1, 0),
        ("strh w1, [x9, 0]", "dmb 0xa", "strb w1, [x10, 0]"),
        ("ldrb w3, [x10, 0]", "dmb 0x9", "ldr w4, [x9, 0]"),
    ),
    _of(
        "MP+stlrb+ldaprh", lambda o: o[2:4] == (1, 0),
        ("str w1, [x9, 0]", "stlrb w1, [x10]"), ("ldaprh w3, [x10]", "ldrb w4, [x9, 0]"),
    ),
    _of(  # updates of a byte and of its word lose nothing of each other
        "ldaddb+ldadd", lambda o: o[4] != 0x303,
        ("ldaddb w1, w3, [x9]",) * 3, ("movz w5, 0x100", *("ldaddal w5, w4, [x9]",) * 3),
    ),
)  # fmt: skip

_LOOP = ("retry:", "ldxr w3, [x9]", "add w5, w3, 1", "stxr w6, w5, [x9]", "cbnz w6, {retry}")
_ONCE = ("ldaxr w3, [x9]", "add w5, w3, 1", "stlxr w4, w5, [x9]")
_PAIR = (
    "retry:", "ldxp x5, x6, [x9]", "add x7, x5, 1", "add x8, x6, 1",
    "stxp w3, x7, x8, [x9]", "cbnz w3, {retry}", "orr w3, wzr, w5", "orr w4, wzr, w6",
)  # fmt: skip
_CAS = (
    "ldr w3, [x9, 0]", "retry:", "add w5, w3, 1", "orr w6, wzr, w3", "casal w3, w5, [x9]",
    "subs wzr, w3, w6", "b.ne {retry}",
)  # fmt: skip
_CASP = (
    "movz x4, 0", "movz x5, 0", "retry:", "orr x6, xzr, x4", "add x23, x4, 1", "add x24, x5, 1",
    "orr x18, xzr, x23", "orr x19, xzr, x24", "casp x4, x5, x18, x19, [x9]",
    "subs xzr, x4, x6", "b.ne {retry}", "orr w3, wzr, w4", "orr w4, wzr, w5",
)  # fmt: skip
_ADD = ("ldadd w1, w3, [x9]", "ldaddal w1, w4, [x9]")


def _counted(results: int) -> Forbidden:
    """Each of the updates saw another number, and none is lost."""

    def forbidden(o: tuple[int, ...]) -> bool:
        seen = sorted(n for cpu in range(0, len(o) - 2, 2) for n in o[cpu : cpu + results])
        return seen != list(range(len(seen))) or o[-2] != len(seen)

    return forbidden


def _pairs(o: tuple[int, ...]) -> bool:
    """The same of a counter that stands twice."""
    return o[0:-2:2] != o[1:-2:2] or _counted(1)(o)


ATOMICS = tuple(
    _of(f"{name} x {cpus}", forbidden, *(lines,) * cpus)
    for cpus in (2, 3, 4)
    for name, forbidden, lines in (
        ("ldxr+stxr", _counted(1), _LOOP),
        ("ldaxr+stlxr", lambda o: o[-2] != sum(failed == 0 for failed in o[1:-2:2]), _ONCE),
        ("ldxp+stxp", _pairs, _PAIR),
        ("cas", _counted(1), _CAS),
        ("casp", _pairs, _CASP),
        ("ldadd", _counted(2), _ADD),
    )
)

TESTS = (
    *(test for shape in SHAPES.values() for test in tests(shape, ORDERS, _alone)),
    *EARLY, *COHERENCE, *MIXED, *ATOMICS,
)  # fmt: skip
