"""Long mode's pages, traps and code segments (volume 3, chapters 4 and 6), at privilege level 0.

A gate of the IDT is reduced to its offset, a code segment's descriptor to its L bit.
"""

from __future__ import annotations

from bimetal.ir.value import Value, const, select
from bimetal.isa.trace import Cpu, pin, ret, slowly, when

from .flags import load_flags, rflags
from .insns import RSP
from .operands import effective
from .rows import COMPATIBILITY, LONG, opcode_row
from .sse import set_control
from .state import x86

__all__ = ["DOUBLE_FAULT", "EXTERNAL", "PAGE_FAULT", "PAGING", "UNDEFINED"]

LOAD, STORE, FETCH = 0, 1, 2
READ_OK, WRITE_OK, LARGE = 1, 2, 8
# Vectors; a cause is a vector and, above, an error code if it has one.
UNDEFINED, DOUBLE_FAULT, PROTECTION, PAGE_FAULT, ALIGNMENT = 6, 8, 13, 14, 17
EXTERNAL = 32
WITH_CODE = (DOUBLE_FAULT, PROTECTION, PAGE_FAULT, ALIGNMENT)
PAGING = 1 << 31
PRESENT, WRITABLE, PAGE_SIZE = 1, 2, 1 << 7
ADDRESS = ((1 << 52) - 1) & ~0xFFF
L_BIT = 53


# -- addresses


@x86.routine(access=8, va=64)
def page_fault(cpu: Cpu, access: Value, va: Value) -> None:
    """#PF: bit 1 of the error code says that it was a write, bit 4 a fetch."""
    code = select(access == STORE, const(2, 64), select(access == FETCH, const(16, 64), 0))
    cpu.trap(code << 8 | PAGE_FAULT, va)


@x86.routine(access=8, va=64)
def access_fault(cpu: Cpu, access: Value, va: Value) -> None:
    """Nothing is there: hardware reads ones and loses writes, the sketch says #GP."""
    cpu.trap(PROTECTION)


@x86.routine(access=8, va=64)
def misaligned(cpu: Cpu, access: Value, va: Value) -> None:
    """Of what has to be aligned there are locked accesses alone, as split-lock detection says."""
    cpu.trap(ALIGNMENT)


@x86.routine(returns=64, va=64, access=8)
def translate(cpu: Cpu, va: Value, access: Value) -> Value:
    """Four levels of tables (4.5.4). Accessed and dirty bits are not kept."""
    with when((cpu.cr0 & PAGING) == 0):
        ret((va & ~0xFFF) | READ_OK | WRITE_OK)
    table, writable = cpu.local(cpu.cr3 & ADDRESS), cpu.local(const(WRITABLE, 64))
    for level in (3, 2, 1, 0):
        entry = cpu.load_physical(table.value + (va.lsr(12 + 9 * level) & 0x1FF) * 8, 64)
        with when((entry & PRESENT) == 0):
            page_fault(cpu, access, va)
        writable.set(writable.value & entry)
        if level == 1:
            with when((entry & PAGE_SIZE) != 0):
                ret(
                    allowed(cpu, (entry & ADDRESS) | (va & 0x1F_F000), writable.value, access, va)
                    | LARGE
                )
        table.set(entry & ADDRESS)
    return allowed(cpu, table.value, writable.value, access, va)


@x86.routine(returns=64, page=64, writable=64, access=8, va=64)
def allowed(cpu: Cpu, page: Value, writable: Value, access: Value, va: Value) -> Value:
    """A translation, unless it forbids the access."""
    with when((access == STORE) & (writable == 0)):
        page_fault(cpu, access, va)
    return page | READ_OK | writable


@x86.routine(returns=8)
def decode_mode(cpu: Cpu) -> Value:
    return select(cpu.long != 0, const(LONG, 8), COMPATIBILITY)


@x86.routine(returns=8)
def context(cpu: Cpu) -> Value:
    return decode_mode(cpu)


@x86.routine(returns=8, current=8)
def user_context(cpu: Cpu, current: Value) -> Value:
    return current


@x86.routine(returns=64)
def address_space(cpu: Cpu) -> Value:
    """Without PCIDs, the tables."""
    space: Value = (cpu.cr3 & ADDRESS) | ((cpu.cr0 & PAGING) != 0).zext(64) << 1
    return space


@x86.routine(returns=64)
def global_space(cpu: Cpu) -> Value:
    """The sketch has no global pages."""
    return const(1, 64)


@x86.routine(returns=8)
def mode(cpu: Cpu) -> Value:
    return const(0, 8)


# -- traps


@x86.routine()
def undefined(cpu: Cpu) -> None:
    cpu.trap(UNDEFINED)


@x86.routine(returns=64, cause=64, value=64)
def take_trap(cpu: Cpu, cause: Value, value: Value) -> Value:
    """Push a frame and enter the handler, in 64-bit mode (6.14). Every push may fault."""
    vector, code = cause & 0xFF, cause.lsr(8)
    gate = cpu.idtr + vector * 16
    low, high = cpu.load(gate, 64), cpu.load(gate + 8, 32).zext(64)
    handler = (low & 0xFFFF) | (low.lsr(48) << 16) | high << 32
    selector = low[31:16]
    frame = (cpu.ss.zext(64), cpu.r[RSP], rflags(cpu), cpu.cs.zext(64), cpu.pc)
    top = cpu.r[RSP] & ~15
    for item in frame:
        top = top - 8
        cpu.store(top, item)
    has_code = const(0, 1)
    for number in WITH_CODE:
        has_code = has_code | (vector == number)
    stack = cpu.local(top)
    with when(has_code):
        cpu.store(top - 8, code)
        stack.set(top - 8)
    with when(vector == PAGE_FAULT):
        cpu.cr2 = value
    cpu.sync()
    cpu.r[RSP] = stack.value
    cpu.cs, cpu.long, cpu.interrupts = selector, const(1, 8), const(0, 8)
    return handler


@x86.routine(returns=64, first=64, second=64)
def fault_in_delivery(cpu: Cpu, first: Value, second: Value) -> Value:
    """What becomes of a fault while another is delivered (table 6-5): a double fault, or the end.

    The sketch has no benign exceptions that fault, so all but the first lead there.
    """
    with when((first & 0xFF) == DOUBLE_FAULT):
        cpu.shutdown = const(1, 8)
        cpu.leave("halt")
    contributes = ((first & 0xFF) == PAGE_FAULT) | ((first & 0xFF) == PROTECTION)
    return select(contributes, const(DOUBLE_FAULT, 64), second)


@x86.routine(returns=64)
def pending_interrupt(cpu: Cpu) -> Value:
    asked = (cpu.line[0] != 0) & (cpu.interrupts != 0)
    return select(asked, const(EXTERNAL, 64), 0)


@x86.routine(returns=1)
def wakes(cpu: Cpu) -> Value:
    awaited: Value = (pending_interrupt(cpu) != 0) & (cpu.shutdown == 0)
    return awaited


@x86.routine()
def poll_timer(cpu: Cpu) -> None:
    pass


@x86.routine()
def renew(cpu: Cpu) -> None:
    set_control(cpu)


# -- instructions of the system


def enter_code(cpu: Cpu, selector: Value) -> None:
    """Take CS from its descriptor: 64-bit code, or of 32 bits."""
    descriptor = cpu.load(cpu.gdtr + (selector & 0xFFF8), 64)
    cpu.cs, cpu.long = selector.trunc(16), descriptor[L_BIT].zext(8)


@x86.insn(opcode_row("cb"), "retf")
def far_return(cpu: Cpu, wide: Value, compatibility: Value, **_: Value) -> None:
    """Of 32 bits without REX.W, in 64-bit mode too."""
    width = 64 if pin(wide) else 32
    stack = cpu.r[RSP]
    to = cpu.load(stack, width).zext(64)
    selector = cpu.load(stack + width // 8, width).zext(64)
    cpu.sync()
    enter_code(cpu, selector)
    cpu.r[RSP] = stack + width // 4
    cpu.jump(to)


@x86.insn(opcode_row("cf"), "iret")
def iret(cpu: Cpu, wide: Value, **_: Value) -> None:
    """Back from a 64-bit handler (6.14.4); others the sketch lacks."""
    with slowly(wide == 0):
        cpu.trap(UNDEFINED)
    stack = cpu.r[RSP]
    to, selector, flags, top, segment = (cpu.load(stack + 8 * n, 64) for n in range(5))
    cpu.sync()
    enter_code(cpu, selector)
    load_flags(cpu, flags)
    cpu.r[RSP], cpu.ss = top, segment.trunc(16)
    cpu.jump(to)


@x86.insn(opcode_row("0f 0b"), "ud2")
def ud2(cpu: Cpu, **_: Value) -> None:
    cpu.trap(UNDEFINED)


@x86.insn(opcode_row("f4"), "hlt")
def hlt(cpu: Cpu, **_: Value) -> None:
    cpu.leave("halt")


def interrupt_flag(row: str, text: str, value: int) -> None:
    @x86.insn(opcode_row(row), text)
    def meaning(cpu: Cpu, **_: Value) -> None:
        cpu.sync()
        cpu.interrupts = const(value, 8)


interrupt_flag("fa", "cli", 0)
interrupt_flag("fb", "sti", 1)


@x86.insn(opcode_row("0f 01 /7"), "invlpg {:M}", where=lambda memory, **_: memory == 1)
def invlpg(cpu: Cpu, **fields: Value) -> None:
    every, page = const(0, 64), effective(cpu, fields) & ~0xFFF
    cpu.host("flush_pages", 0, page, const(1, 64), every, every, every)
    cpu.sync()
