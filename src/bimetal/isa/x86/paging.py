"""Addresses (volume 3, chapter 4): translation, and on what it depends."""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..contract import READ_OK, WRITE_OK
from ..trace import Cpu
from .state import x86

__all__: list[str] = []


@x86.routine(returns=64, va=64, access=8)
def translate(cpu: Cpu, va: Value, access: Value) -> Value:
    """Without paging linear addresses are physical."""
    return (va & ~0xFFF) | READ_OK | WRITE_OK


@x86.routine(returns=8)
def decode_mode(cpu: Cpu) -> Value:
    """As CS and the other segments say, see `modes`."""
    number: Value = cpu.decoding
    return number


@x86.routine(returns=8)
def context(cpu: Cpu) -> Value:
    """The decode mode, and whether accesses are those of a user."""
    number: Value = cpu.decoding | select(cpu.cpl == 3, const(4, 8), 0)
    return number


@x86.routine(returns=8, current=8)
def user_context(cpu: Cpu, current: Value) -> Value:
    """No instruction accesses memory with the rights of a user."""
    return current


@x86.routine(returns=64)
def address_space(cpu: Cpu) -> Value:
    """Without paging there is one."""
    return const(0, 64)


@x86.routine(returns=64)
def global_space(cpu: Cpu) -> Value:
    """The same."""
    return const(1, 64)
