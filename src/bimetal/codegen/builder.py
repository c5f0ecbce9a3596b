"""What the engine's routines are written with: host memory operations and a table of routines.

Beside the operations that descriptions have, routines of the engine use `host_load` and
`host_store` at host addresses, and what is built on them.
"""

from __future__ import annotations

from collections.abc import Callable

from ..ir.effects import Effect, Operand
from ..ir.facts import FACTS, Facts
from ..ir.value import Value, const, perform
from ..isa.contract import Hooks
from ..isa.describe import Isa
from ..isa.state import StateSpec
from ..isa.trace import Cpu, Routine
from .layout import Layout

__all__ = [
    "COUNTERS",
    "LEFT",
    "NOTHING",
    "TRAPPED",
    "Builder",
    "HostAddress",
    "HostExchange",
    "HostLoad",
    "HostStore",
    "MemoryCompare",
    "MemoryCopy",
    "MemoryFill",
    "copy",
    "count",
    "differ",
    "exchange",
    "fill",
    "host_load",
    "host_store",
    "state_address",
]  # fmt: skip

NOTHING, TRAPPED, LEFT = 0, 1, 2
COUNTERS = (
    "data TLB misses",
    "fetch TLB misses",
    "polls",
    "traps",
    "pages decoded",
    "code arenas emptied",
    "TLB flushes",
    "pages flushed",
    "TLBs emptied",
    "boxes emptied",
)


class HostLoad(Effect):
    """Load from this process's memory."""

    __slots__ = ()
    name = "host_load"
    address = Operand(0)


class HostStore(Effect):
    """Store to this process's memory."""

    __slots__ = ()
    name = "host_store"
    address, new = Operand(0), Operand(1)


class HostExchange(Effect):
    """Exchange a value in memory shared with other threads, atomically and sequentially
    consistently; the result is the old value."""

    __slots__ = ()
    name = "host_exchange"
    address, new = Operand(0), Operand(1)


class HostAddress(Effect):
    """The host address of an engine variable, or of the TLBs."""

    __slots__ = ("variable",)
    name = "host_address"

    def __init__(self, variable: str):
        super().__init__(64)
        self.variable = variable

    def detail(self) -> str:
        return self.variable


class MemoryFill(Effect):
    """Fill ``size`` bytes of host memory."""

    __slots__ = ()
    name = "memory_fill"
    address, byte, size = Operand(0), Operand(1), Operand(2)


class MemoryCopy(Effect):
    """Copy ``size`` bytes of host memory."""

    __slots__ = ()
    name = "memory_copy"
    to, source, size = Operand(0), Operand(1), Operand(2)


class MemoryCompare(Effect):
    """0 if two ranges of host memory are equal."""

    __slots__ = ()
    name = "memory_compare"
    a, b, size = Operand(0), Operand(1), Operand(2)


FACTS.update(
    dict.fromkeys(
        (
            HostLoad,
            HostStore,
            HostExchange,
            HostAddress,
            MemoryFill,
            MemoryCopy,
            MemoryCompare,
        ),
        Facts(frame=True),
    )
)


def host_load(address: Value, width: int) -> Value:
    """Load from a host address."""
    return perform(HostLoad(width, address))


def host_store(address: Value, value: Value) -> None:
    """Store to a host address."""
    perform(HostStore(0, address, value))


def exchange(address: Value, value: Value) -> Value:
    """See `HostExchange`."""
    return perform(HostExchange(value.width, address, value))


def state_address(name: str) -> Value:
    """The host address of an engine variable, or of the TLBs."""
    return perform(HostAddress(name))


def count(cpu: Cpu, name: str) -> None:
    """Add one to a counter."""
    index = COUNTERS.index(name)
    cpu.counter[index] = cpu.counter[index] + 1


def fill(address: Value, byte: int, size: Value | int) -> None:
    """Fill host memory."""
    size = size if isinstance(size, Value) else const(size, 64)
    perform(MemoryFill(0, address, const(byte, 8), size))


def copy(to: Value, source: Value, size: int) -> None:
    """Copy host memory."""
    perform(MemoryCopy(0, to, source, const(size, 64)))


def differ(a: Value, b: Value, size: int) -> Value:
    """Whether two ranges of host memory differ."""
    return perform(MemoryCompare(32, a, b, const(size, 64))) != 0


class Builder:
    """Collects the routines of one ISA's runtime, so that they can call each other by name.

    Its `routine` decorator is to the engine what `Isa.routine` is to an instruction set.
    """

    def __init__(self, layout: Layout):
        self.layout = layout
        self.spec: StateSpec = layout.spec
        self.isa: Isa = layout.isa
        self.hooks = Hooks.of(layout.isa)
        self.routines: dict[str, Routine] = dict(layout.isa.routines)

    def routine(
        self, returns: int = 0, name: str = "", **widths: int
    ) -> Callable[[Callable[..., Value | None]], Routine]:
        """Declare a routine of the engine.

        ``returns`` is the width of the result in bits (0: none), ``name`` defaults to the
        function's, and ``widths`` are those of the parameters, in bits.
        """

        def register(body: Callable[..., Value | None]) -> Routine:
            made = Routine(body, self.spec, widths, returns, name)
            self.routines[made.name] = made
            return made

        return register
