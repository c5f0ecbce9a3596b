"""Updates of memory under LOCK (volume 3, 9.1).

The engine's atomic operations are for aligned memory. A misaligned one that lies within 16 bytes of
memory compares and swaps all of these; one across such a boundary, or of a device, is a load and a
store, and atomic only for this vCPU.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir.value import Value, const, select
from ..contract import STORE
from ..trace import Cpu, ret, slowly, when
from .state import x86
from .traps import AGAIN

__all__ = ["compared", "locked"]

_UPDATES: dict[str, Callable[[Value, Value], Value]] = {
    "add": lambda old, new: old + new,
    "and": lambda old, new: old & new,
    "or": lambda old, new: old | new,
    "xor": lambda old, new: old ^ new,
    "xchg": lambda old, new: new,
}
_NAMES = (*_UPDATES, "compare")
CELL = 16
"""Bytes that can be compared and swapped at once."""
PAGE_MASK = 0xFFF


def locked(cpu: Cpu, update: str, address: Value, value: Value) -> Value:
    """Atomically combine memory with a value; what was there."""
    if value.width == 8:
        return cpu.amo(update, address, value)
    old = cpu.local(const(0, value.width))
    with slowly((address & (value.width // 8 - 1)) != 0) as misaligned:
        old.set(_apart(cpu, update, address, value, value))
        with misaligned.otherwise():
            old.set(cpu.amo(update, address, value))
    return old.value


def compared(cpu: Cpu, address: Value, expected: Value, new: Value) -> Value:
    """Atomically store ``new`` if memory holds ``expected``; what was there."""
    if new.width in (8, 128):  # 16 bytes have to be aligned
        return cpu.compare_and_swap(address, expected, new)
    old = cpu.local(const(0, new.width))
    with slowly((address & (new.width // 8 - 1)) != 0) as misaligned:
        old.set(_apart(cpu, "compare", address, new, expected))
        with misaligned.otherwise():
            old.set(cpu.compare_and_swap(address, expected, new))
    return old.value


def _apart(cpu: Cpu, update: str, address: Value, value: Value, expected: Value) -> Value:
    """A misaligned update."""
    kind, size = const(_NAMES.index(update), 8), const(value.width // 8, 64)
    old: Value = update_apart(cpu, kind, address, value.zext(64), expected.zext(64), size)
    return old.trunc(value.width)


@x86.routine(returns=64, kind=8, address=64, value=64, expected=64, size=64)
def update_apart(
    cpu: Cpu, kind: Value, address: Value, value: Value, expected: Value, size: Value
) -> Value:
    """See `locked` and `compared`. If another vCPU has stored into the 16 bytes meanwhile, the
    instruction begins anew."""
    inside = (address & (CELL - 1)) + size
    with when((cpu.host("shared", 1) == 1) & inside.ult(CELL + 1) & (cpu.debugging == 0)):
        page = x86.hooks["translate"](cpu, address, const(STORE, 8))
        place = page & ~PAGE_MASK & ((1 << 52) - 1) | address & PAGE_MASK
        with when(cpu.host("is_ram", 1, place) == 1):
            ret(update_cell(cpu, kind, address, value, expected, size))
    return update_parts(cpu, kind, address, value, expected, size)


def _updated(kind: Value, old: Value, value: Value, expected: Value) -> Value:
    """What is stored. A comparison writes in any case: what was there, if it is another value."""
    new = select(old == expected, value, old)
    for number, update in enumerate(_UPDATES.values()):
        new = select(kind == number, update(old, value), new)
    return new


@x86.routine(returns=64, kind=8, address=64, value=64, expected=64, size=64)
def update_cell(
    cpu: Cpu, kind: Value, address: Value, value: Value, expected: Value, size: Value
) -> Value:
    """An update by comparing and swapping the 16 bytes around it."""
    cell, at = address & ~(CELL - 1), ((address & (CELL - 1)) << 3).zext(128)
    mask = select(size == 8, const(-1, 64), (const(1, 64) << (size << 3)) - 1)
    whole = cpu.load(cell, 128, aligned=True)
    old = whole.lsr(at).trunc(64) & mask
    new = _updated(kind, old, value, expected) & mask
    changed = whole & ~(mask.zext(128) << at) | new.zext(128) << at
    with when(cpu.compare_and_swap(cell, whole, changed) != whole):
        cpu.trap(const(AGAIN, 64))
    return old


@x86.routine(returns=64, kind=8, address=64, value=64, expected=64, size=64)
def update_parts(
    cpu: Cpu, kind: Value, address: Value, value: Value, expected: Value, size: Value
) -> Value:
    """An update by a load and a store."""
    for width in (16, 32):
        with when(size == width // 8):
            old = cpu.load(address, width).zext(64)
            cpu.store(address, _updated(kind, old, value, expected).trunc(width))
            ret(old)
    old = cpu.load(address, 64)
    cpu.store(address, _updated(kind, old, value, expected))
    return old
