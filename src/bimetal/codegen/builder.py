"""What the engine's routines are written with: words for host memory, and a table of routines.

The words are two more than descriptions have, `host_load` and `host_store` at host addresses, and
what is made of them.
"""

from __future__ import annotations

from collections.abc import Callable

from ..ir.value import Value, const, emit
from ..isa.describe import Isa
from ..isa.state import StateSpec
from ..isa.trace import Cpu, Routine
from .layout import Layout

__all__ = [
    "COUNTERS", "LEAVE", "LEFT", "NOTHING", "TRAPPED", "Builder", "copy", "count", "differ", "fill",
    "host_load", "host_store", "state_address",
]  # fmt: skip

NOTHING, TRAPPED, LEFT = 0, 1, 2
# Why native code is left, by number.
LEAVE = ("kicked", "halt", "firmware call", "mmio", "reference", "debug")
COUNTERS = (
    "data TLB misses",
    "fetch TLB misses",
    "polls",
    "traps",
    "pages decoded",
    "code arenas emptied",
    "TLB flushes",
    "pages flushed",
)


def host_load(address: Value, width: int) -> Value:
    """Load from a host address."""
    return emit("hload", width, (address,))


def host_store(address: Value, value: Value) -> None:
    """Store to a host address."""
    emit("hstore", 0, (address, value))


def state_address(name: str) -> Value:
    """The host address of an engine variable, or of the TLBs."""
    return emit("haddr", 64, (), name)


def count(cpu: Cpu, name: str) -> None:
    """Add one to a counter."""
    index = COUNTERS.index(name)
    cpu.counter[index] = cpu.counter[index] + 1


def fill(address: Value, byte: int, size: Value | int) -> None:
    """Fill host memory."""
    size = size if isinstance(size, Value) else const(size, 64)
    emit("memset", 0, (address, const(byte, 8), size))


def copy(to: Value, source: Value, size: int) -> None:
    """Copy host memory."""
    emit("memcpy", 0, (to, source, const(size, 64)))


def differ(a: Value, b: Value, size: int) -> Value:
    """Whether two stretches of host memory differ."""
    return emit("memcmp", 32, (a, b, const(size, 64))) != 0


class Builder:
    """Collects the routines of one ISA's runtime, so that they can call each other by name."""

    def __init__(self, layout: Layout):
        self.layout = layout
        self.spec: StateSpec = layout.spec
        self.isa: Isa = layout.isa
        self.routines: dict[str, Routine] = dict(layout.isa.routines)

    def routine(
        self, returns: int = 0, **widths: int
    ) -> Callable[[Callable[..., Value | None]], Routine]:
        """Declare a routine of the engine."""

        def register(body: Callable[..., Value | None]) -> Routine:
            made = Routine(body, self.spec, widths, returns)
            self.routines[made.name] = made
            return made

        return register

    def hook(self, name: str) -> Routine:
        """A routine that the ISA must have described."""
        return self.isa.routines[name]
