"""The shapes of litmus tests, and the outcomes that are forbidden if all CPUs keep their order.

A shape says of each CPU which of x and y it reads or writes, one after the other; names are those
of herd and of the manuals. It is a cycle: had everything happened in one order, it would have to
come before itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle

from .litmus import Litmus, Outcome

__all__ = ["SHAPES", "Access", "Orders", "Shape", "litmus", "tests"]


@dataclass(frozen=True, slots=True)
class Access:
    """A read or a write (of ``value``) of x or y."""

    kind: str
    word: str
    value: int = 1


def _accesses(text: str) -> tuple[Access, ...]:
    """``Rx Wy2`` is a read of x, and then a write of 2 to y."""
    return tuple(Access(part[0], part[1], int(part[2:] or 1)) for part in text.split())


@dataclass(frozen=True, slots=True)
class Shape:
    """What each CPU does, and the outcome that would be a cycle."""

    name: str
    cpus: tuple[tuple[Access, ...], ...]
    forbidden: Callable[[Outcome], bool]

    @property
    def pairs(self) -> tuple[str, ...]:
        """The kinds of those accesses whose order counts: ``RW`` and so on."""
        return tuple(a[0].kind + a[1].kind for a in self.cpus if len(a) == 2)


def _shape(name: str, cpus: str, forbidden: Callable[[Outcome], bool]) -> Shape:
    return Shape(name, tuple(map(_accesses, cpus.split("|"))), forbidden)


SHAPES = {
    shape.name: shape
    for shape in (
        _shape("MP", "Wx Wy | Ry Rx", lambda o: o[2:4] == (1, 0)),
        _shape("SB", "Wx Ry | Wy Rx", lambda o: (o[0], o[2]) == (0, 0)),
        _shape("LB", "Rx Wy | Ry Wx", lambda o: (o[0], o[2]) == (1, 1)),
        _shape("R", "Wx Wy | Wy2 Rx", lambda o: (o[2], o[5]) == (0, 2)),
        _shape("S", "Wx2 Wy | Ry Wx", lambda o: (o[2], o[4]) == (1, 2)),
        _shape("2+2W", "Wx Wy2 | Wy Wx2", lambda o: o[4:6] == (1, 1)),
        _shape("WRC", "Wx | Rx Wy | Ry Rx", lambda o: (o[2], *o[4:6]) == (1, 1, 0)),
        _shape("RWC", "Wx | Rx Ry | Wy Rx", lambda o: (*o[2:4], o[4]) == (1, 0, 0)),
        _shape("IRIW", "Wx | Wy | Rx Ry | Ry Rx", lambda o: o[4:8] == (1, 0, 1, 0)),
    )
}

Order = Callable[[Access, Access], tuple[str, ...]]
"""Lines for two accesses that an instruction set keeps in order. What is read first goes to the
register of the first result, and what is read second to that of the second, or of the first if
nothing was read before."""
Orders = dict[str, dict[str, Order]]
"""By the kinds of the two (``RW``), the ways that there are, by name."""


def litmus(shape: Shape, names: tuple[str, ...], orders: Orders, alone: Order) -> Litmus:
    """A shape with a way of keeping order for each CPU that makes two accesses; ``alone`` is for
    CPUs that make one, which it is given twice."""
    rest = iter(zip(shape.pairs, names, strict=True))
    lines = []
    for accesses in shape.cpus:
        if len(accesses) == 1:
            lines.append(alone(*accesses * 2))
        else:
            pair, name = next(rest)
            lines.append(orders[pair][name](*accesses))
    return Litmus("+".join((shape.name, *names)), tuple(lines), shape.forbidden)


def tests(shape: Shape, orders: Orders, alone: Order) -> Iterator[Litmus]:
    """As few tests of a shape as try each way of keeping order on each CPU."""
    ways = [list(orders[pair]) for pair in shape.pairs]
    # Not all at the same pace, so that CPUs of one kind do not always do it in the same way.
    turns = [cycle(way[n:] + way[:n]) for n, way in enumerate(ways)]
    for _ in range(max(map(len, ways))):
        yield litmus(shape, tuple(map(next, turns)), orders, alone)
