"""A write of CR3 forgets translations that are not global, few of them in a TLB or many."""

from __future__ import annotations

import pytest

from bimetal.accel.interp import InterpCpu

from .x86_long import LOW_PD, begin_long
from .x86_machine import X86Machine, machines

machine = machines()

TABLE, ONE, TWO = 0x1_C000, 0x3_0000, 0x3_1000
"""A page table, and pages with these numbers."""
MAPPED = 0x20_0000


def seen(pages: int) -> str:
    """Code that adds what is in so many pages, which all are the one that RBX says, to R8."""
    return f"""
        mov ecx, {pages}
    1:  mov [{TABLE} + rcx * 8 - 8], rbx
        loop 1b
        mov rax, cr3
        mov cr3, rax
        mov esi, {MAPPED}
        mov ecx, {pages}
    1:  add r8, [rsi]
        add rsi, 0x1000
        loop 1b
    """


@pytest.mark.parametrize("pages", [1, 4, 5, 20])
def test_pages_that_are_not_global_are_forgotten(machine: X86Machine, pages: int) -> None:
    laps = 3 if machine.engine == "reference" else 100
    text = f"""
        mov rax, cr4
        or eax, 0x80  // PGE
        mov cr4, rax
        or qword ptr [{LOW_PD}], 0x100  // what is below is global
        mov qword ptr [{LOW_PD + 8}], {TABLE | 3}
        mov qword ptr [{ONE}], 1
        mov qword ptr [{TWO}], 2
        xor r8, r8
        mov r9d, {laps}
    again:
        mov ebx, {ONE | 3}
        {seen(pages)}
        mov ebx, {TWO | 3}
        {seen(pages)}
        dec r9d
        jnz again
        mov rax, r8
    """
    begin_long(machine, text)
    before = _emptied(machine)
    assert machine.finish() == 3 * pages * laps
    if pages <= 4 and "forget" not in machine.engine:
        assert _emptied(machine) - before < 10


def _emptied(machine: X86Machine) -> int:
    """How many TLBs were emptied; the reference has none."""
    cpu = machine.cpu
    return cpu.counters["TLBs emptied"] if isinstance(cpu, InterpCpu) else 0
