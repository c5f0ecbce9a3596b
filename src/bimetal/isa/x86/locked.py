"""Updates of memory under LOCK (volume 3, 9.1)."""

from __future__ import annotations

from collections.abc import Callable

from ...ir.value import Value, const, select
from ..trace import Cpu, slowly

__all__ = ["compared", "locked"]

_UPDATES: dict[str, Callable[[Value, Value], Value]] = {
    "add": lambda old, new: old + new,
    "and": lambda old, new: old & new,
    "or": lambda old, new: old | new,
    "xor": lambda old, new: old ^ new,
    "xchg": lambda old, new: new,
}


def locked(cpu: Cpu, update: str, address: Value, value: Value) -> Value:
    """Atomically combine memory with a value; what was there. A misaligned update is atomic only
    for this vCPU."""
    if value.width == 8:
        return cpu.amo(update, address, value)
    old = cpu.local(const(0, value.width))
    with slowly((address & (value.width // 8 - 1)) != 0) as misaligned:
        there = cpu.load(address, value.width)
        cpu.store(address, _UPDATES[update](there, value))
        old.set(there)
        with misaligned.otherwise():
            old.set(cpu.amo(update, address, value))
    return old.value


def compared(cpu: Cpu, address: Value, expected: Value, new: Value) -> Value:
    """Atomically store ``new`` if memory holds ``expected``; what was there. Where it is misaligned
    it is atomic only for this vCPU."""
    if new.width == 8:
        return cpu.compare_and_swap(address, expected, new)
    old = cpu.local(const(0, new.width))
    with slowly((address & (new.width // 8 - 1)) != 0) as misaligned:
        there = cpu.load(address, new.width)
        equal = there == expected
        # The processor writes in any case: what was there, if it is another value.
        cpu.store(address, select(equal, new, there))
        old.set(there)
        with misaligned.otherwise():
            old.set(cpu.compare_and_swap(address, expected, new))
    return old.value
