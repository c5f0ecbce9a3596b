"""Programs of the PowerPC sketch on the accelerators."""

from __future__ import annotations

from tests.sketches.sketched import Sketched

from .architecture import architecture
from .programs import CODE, in_order

__all__ = ["HANDLER", "begin", "lines"]

HANDLER = ("addis r2, 0, 16384", "std r3, 0(r2)")
"""What ends a program, wherever a trap leads: a store to `END`."""


def lines(*texts: str, at: int = 0, little: bool = False) -> bytes:
    """Code by its text."""
    code = b""
    for text in texts:
        code += architecture.isa.assemble(text, at + len(code))
    return in_order(code, little)


def begin(machine: Sketched, code: bytes, little: bool, at: int = CODE) -> None:
    """Put a program there, and handlers of its own byte order for all that traps."""
    machine.begin(in_order(code, little), at)
    for vector in (0x200, 0x500, 0x600, 0x700, 0xC00):
        machine.put(vector, lines(*HANDLER, little=little))
    machine["msr"], machine["ile"] = 1 << 63 | little, int(little)
    machine["pc"] = at
