"""The litmus tests: names and shapes as in the manual's appendix A and in herd's RISC-V suite.

Each hart has two columns in an outcome, for a0 and a1; x and y stand at the end. ``early`` tests
read a word before too, which invites a compiler to take the value that it has already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .litmus import Litmus, Outcome

__all__ = ["FOUR", "TWO"]

FENCE, FENCE_W, FENCE_R = "fence rw, rw", "fence w, w", "fence r, r"
FENCE_RELEASE, FENCE_ACQUIRE, FENCE_TSO = "fence rw, w", "fence r, rw", "fence.tso"
NOTHING = ("addi a0, zero, 0", "addi a1, zero, 0")
X, Y = "s0", "s1"


def _store(value: int, to: str) -> str:
    return f"sw t{value}, 0({to})"


def _load(register: str, source: str) -> str:
    return f"lw {register}, 0({source})"


def _dependent_load(on: str, to: str, base: str) -> tuple[str, ...]:
    """A load of ``base`` into ``to`` whose address depends on a value read before."""
    return (f"xor t3, {on}, {on}", f"add t3, t3, {base}", f"lw {to}, 0(t3)")


def _dependent_address(on: str, base: str) -> tuple[str, ...]:
    """A store of 1 to ``base``, whose address depends on a value read before."""
    return (f"xor t3, {on}, {on}", f"add t3, t3, {base}", "sw t1, 0(t3)")


def _dependent_data(on: str, base: str) -> tuple[str, ...]:
    """The same with a value that depends on one read before."""
    return (f"xor t3, {on}, {on}", "addi t3, t3, 1", f"sw t3, 0({base})")


def _behind_branch(on: str, base: str) -> tuple[str, ...]:
    """The same behind a branch that depends on it."""
    return (f"bltu {on}, zero, {{end}}", _store(1, base))


# 0, after a while, in t4: nobody can know that t1 is 1.
_DELAY = ("remu t4, t2, t1", *("add t4, t4, t1", "remu t4, t2, t4") * 4)
Harts = tuple[tuple[str, ...], ...]


def _message(reader: Sequence[str], writer: str = FENCE_W) -> Harts:
    """Message passing: x is written, then y; hart 1 reads y into a0 and x into a1."""
    return (_store(1, X), writer, _store(1, Y), *NOTHING), tuple(reader)


def _early(reader: Sequence[str]) -> Harts:
    """Message passing to a hart that has read x before, and comes to y, at t4, a while later."""
    first = (_load("a2", X), *_DELAY, f"add t4, t4, {Y}")
    return _message([*first, *reader])


def _stale_message(o: Outcome) -> bool:
    return o[2:4] == (1, 0)


MESSAGES = {
    "MP+fence.rw.rw+fence.rw.rw": _message([_load("a0", Y), FENCE, _load("a1", X)], FENCE),
    "MP+fence.w.w+fence.r.r": _message([_load("a0", Y), FENCE_R, _load("a1", X)]),
    "MP+fence.tso+fence.tso": _message([_load("a0", Y), FENCE_TSO, _load("a1", X)], FENCE_TSO),
    "MP+fence.rw.w+fence.r.rw": _message(
        [_load("a0", Y), FENCE_ACQUIRE, _load("a1", X)], FENCE_RELEASE
    ),
    "MP+fence.w.w+addr": _message([_load("a0", Y), *_dependent_load("a0", "a1", X)]),
    "MP+fence.w.w+early-addr": _early([_load("a0", "t4"), *_dependent_load("a0", "a1", X)]),
    "MP+fence.w.w+early-fence": _early([_load("a0", "t4"), FENCE_R, _load("a1", X)]),
    "MP+fence.w.w+lr.aq": _message(["lr.w.aq a0, (s1)", _load("a1", X)]),
    "MP+fence.w.w+early-lr.aq": _early(["lr.w.aq a0, (t4)", _load("a1", X)]),
    "MP+fence.w.w+early-amo.aq": _early(["amoor.w.aq a0, zero, (t4)", _load("a1", X)]),
    "MP+amo.rl+amo.aq": (
        (_store(1, X), "amoswap.w.rl zero, t1, (s1)", *NOTHING),
        ("amoor.w.aq a0, zero, (s1)", _load("a1", X)),
    ),
    "MP+sc.rl+addr": (
        (_store(1, X), "lr.w t3, (s1)", "sc.w.rl t4, t1, (s1)", *NOTHING),
        (_load("a0", Y), *_dependent_load("a0", "a1", X)),
    ),
}


def _buffering(between: Sequence[str]) -> Harts:
    """Store buffering: each hart writes one word and reads the other one."""
    return (
        (_store(1, X), *between, _load("a0", Y), "addi a1, zero, 0"),
        (_store(1, Y), *between, _load("a0", X), "addi a1, zero, 0"),
    )


def _nobody_saw(o: Outcome) -> bool:
    return (o[0], o[2]) == (0, 0)


def _loads(then: Callable[[str, str], tuple[str, ...]]) -> Harts:
    """Load buffering: each hart reads one word and then writes the other one."""
    return (
        (_load("a0", X), *then("a0", Y), "addi a1, zero, 0"),
        (_load("a0", Y), *then("a0", X), "addi a1, zero, 0"),
    )


def _from_the_future(o: Outcome) -> bool:
    return (o[0], o[2]) == (1, 1)


def _fenced(on: str, base: str) -> tuple[str, ...]:
    return (FENCE, _store(1, base))


def _swap(source: str, to: str) -> tuple[str, ...]:
    return (f"amoswap.w.aqrl zero, t1, ({source})", _load("a0", to), "addi a1, zero, 0")


_LR_SC_LOOP = ("lr.w t3, (s0)", "addi t4, t3, 1", "sc.w a1, t4, (s0)", "addi a0, t3, 0")

TWO = (
    *(Litmus(name, harts, _stale_message) for name, harts in MESSAGES.items()),
    Litmus("SB+fence.rw.rws", _buffering([FENCE]), _nobody_saw),
    Litmus("SB+fence.w.rs", _buffering(["fence w, r"]), _nobody_saw),
    Litmus("SB+amo.aqrls", (_swap(X, Y), _swap(Y, X)), _nobody_saw),
    Litmus("LB+fences", _loads(_fenced), _from_the_future),
    Litmus("LB+addrs", _loads(_dependent_address), _from_the_future),
    Litmus("LB+datas", _loads(_dependent_data), _from_the_future),
    Litmus("LB+ctrls", _loads(_behind_branch), _from_the_future),
    Litmus(
        "CoRR",
        ((_store(1, X), *NOTHING), (_load("a0", X), _load("a1", X))),
        lambda o: o[2:4] == (1, 0),
    ),
    Litmus(
        "CoRW+WR",
        ((_store(1, X), _load("a0", X), "addi a1, zero, 0"), (_store(2, X), *NOTHING)),
        lambda o: o[0] == 0 or (o[0] == 2 and o[4] == 1),
    ),
    Litmus(
        "2+2W+fences",
        (
            (_store(1, X), FENCE, _store(2, Y), *NOTHING),
            (_store(1, Y), FENCE, _store(2, X), *NOTHING),
        ),
        lambda o: o[4:6] == (1, 1),
    ),
    Litmus(
        "S+fence.w.w+data",
        (
            (_store(2, X), FENCE_W, _store(1, Y), *NOTHING),
            (_load("a0", Y), *_dependent_data("a0", X), "addi a1, zero, 0"),
        ),
        lambda o: (o[2], o[4]) == (1, 2),
    ),
    Litmus(
        "R+fences",
        (
            (_store(1, X), FENCE, _store(1, Y), *NOTHING),
            (_store(2, Y), FENCE, _load("a0", X), "addi a1, zero, 0"),
        ),
        lambda o: (o[2], o[5]) == (0, 2),
    ),
    Litmus(
        "LR+SC",  # both succeed from the same value, or the count is not that of the successes
        (_LR_SC_LOOP, _LR_SC_LOOP),
        lambda o: o[4] != (o[1] == 0) + (o[3] == 0) or (o[1] == o[3] == 0 and o[0] == o[2]),
    ),
    Litmus(
        "AMO+AMO",
        (("amoadd.w a0, t1, (s0)", "amoadd.w a1, t1, (s0)"),) * 2,
        lambda o: sorted(o[:4]) != [0, 1, 2, 3] or o[4] != 4 or o[0] > o[1] or o[2] > o[3],
    ),
)


def _independent(between: str) -> Harts:
    """Independent reads of independent writes."""
    return (
        (_store(1, X), *NOTHING),
        (_store(1, Y), *NOTHING),
        (_load("a0", X), between, _load("a1", Y)),
        (_load("a0", Y), between, _load("a1", X)),
    )


def _two_orders(o: Outcome) -> bool:
    return o[4:8] == (1, 0, 1, 0)


FOUR = (
    Litmus("IRIW+fences", _independent(FENCE), _two_orders),
    Litmus(
        "IRIW+addrs",
        (
            (_store(1, X), *NOTHING),
            (_store(1, Y), *NOTHING),
            (_load("a0", X), *_dependent_load("a0", "a1", Y)),
            (_load("a0", Y), *_dependent_load("a0", "a1", X)),
        ),
        _two_orders,
    ),
    Litmus(
        "WRC+data+addr",
        (
            (_store(1, X), *NOTHING),
            (_load("a0", X), *_dependent_data("a0", Y), "addi a1, zero, 0"),
            (_load("a0", Y), *_dependent_load("a0", "a1", X)),
        ),
        lambda o: (o[2], o[4], o[5]) == (1, 1, 0),
    ),
    Litmus(
        "AMO x 4",
        (("amoadd.w a0, t1, (s0)", "amoadd.w.aqrl a1, t1, (s0)"),) * 4,
        lambda o: sorted(o[:8]) != list(range(8)) or o[8] != 8,
    ),
    Litmus(
        "LR+SC x 4",
        (_LR_SC_LOOP,) * 4,
        lambda o: o[8] != sum(sc == 0 for sc in o[1:8:2]),
    ),
)
