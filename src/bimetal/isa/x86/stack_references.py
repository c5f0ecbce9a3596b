"""Which exception an address is that is not canonical: #SS for references to the stack, explicit by
RSP or RBP as base or implied, and #GP for all others (volume 1, 3.3.7.1; volume 3, 6.15, #SS).

The instruction's bytes say which it was. They are looked at once it has faulted, so nobody else has
to know: prefixes, opcode, ModRM and SIB of 64-bit mode, byte by byte, none behind the instruction.
"""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu, ret, when
from .fields import SP
from .opcode_maps import HAS_MODRM
from .scan import FETCH, among
from .state import x86
from .system_access import code_byte

__all__ = ["of_stack"]

IMPLIED = sum(
    1 << opcode
    for opcode in (
        *range(0x50, 0x60), 0x68, 0x6A, 0x9C, 0x9D, 0xC2, 0xC3, *range(0xC8, 0xCC), 0xCF, 0xE8,
        0x1A0, 0x1A1, 0x1A8, 0x1A9,
    )
)  # fmt: skip
"""Opcodes, as `opcode_maps` numbers them, whose only operand in memory is on the stack: PUSH, POP,
PUSHF, POPF, RET, ENTER, LEAVE, IRET, CALL."""
NEAR = 64
"""How far from RSP an operand on the stack is at most."""


@x86.routine(returns=1, va=64)
def of_stack(cpu: Cpu, va: Value) -> Value:
    """Whether the instruction at ``pc`` means the stack by an address."""
    rex, elsewhere = cpu.local(const(0, 8)), cpu.local(const(0, 1))
    for n in range(FETCH):
        byte = code_byte(cpu, cpu.pc + n)
        is_rex, other = (byte & 0xF0) == 0x40, (byte & 0xFE) == 0x64
        legacy = (byte == 0x66) | (byte == 0x67) | (byte == 0xF0) | ((byte & 0xFE) == 0xF2)
        legacy = legacy | ((byte & 0xE7) == 0x26)
        with when(~(is_rex | other | legacy)):
            ret(opcode_of_stack(cpu, va, cpu.pc + n, rex.value[0], elsewhere.value))
        rex.set(select(is_rex, byte, 0))
        elsewhere.set(elsewhere.value | other)
    return const(0, 1)


@x86.routine(returns=1, va=64, at=64, extended=1, elsewhere=1)
def opcode_of_stack(cpu: Cpu, va: Value, at: Value, extended: Value, elsewhere: Value) -> Value:
    """The same from its opcode on. ``extended`` is REX.B, ``elsewhere`` whether FS or GS is its
    segment."""
    first = code_byte(cpu, at)
    opcode, place = cpu.local(first.zext(10)), cpu.local(at + 1)
    high = cpu.local(extended)
    with when(first == 0x0F):
        second = code_byte(cpu, at + 1)
        opcode.set(second.zext(10) | 0x100)
        place.set(at + 2)
        with when((second == 0x38) | (second == 0x3A)):
            number = select(second == 0x38, const(0x200, 10), 0x300)
            opcode.set(code_byte(cpu, at + 2).zext(10) | number)
            place.set(at + 3)
    with when(first == 0xC5):
        opcode.set(code_byte(cpu, at + 2).zext(10) | 0x100)
        place.set(at + 3)
    with when(first == 0xC4):
        second = code_byte(cpu, at + 1)
        opcode.set(code_byte(cpu, at + 3).zext(10) | (second.zext(10) & 3) << 8)
        place.set(at + 4)
        high.set(~second[5])
    with when(among(opcode.value, IMPLIED)):
        ret(const(1, 1))
    with when(~among(opcode.value, HAS_MODRM)):
        ret(const(0, 1))
    modrm = code_byte(cpu, place.value)
    mod, middle = modrm[7:6], modrm[5:3]
    base = cpu.local(modrm[2:0])
    with when((mod != 3) & (modrm[2:0] == 4)):
        base.set(code_byte(cpu, place.value + 1)[2:0])
    by_stack = (mod != 3) & ((base.value == 4) | ((base.value == 5) & (mod != 0)))
    by_stack = by_stack & (high.value == 0) & (elsewhere == 0)
    # PUSH, POP and CALL of an operand in memory have another one on the stack.
    both = (opcode.value == 0x8F) | ((opcode.value == 0xFF) & ((middle == 6) | (middle[2:1] == 1)))
    near: Value = (va - cpu.r[SP] + NEAR).ult(2 * NEAR)
    return by_stack | (both & near)
