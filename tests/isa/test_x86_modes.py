"""What boards and CPUID say of x86's modes and extensions."""

from __future__ import annotations

import pytest

from .x86_machine import CODE, DATA, X86Machine, assemble, machines

machine = machines("reference", "interp")

PE, PG, LME, LMA, PAE, LA57 = 1, 1 << 31, 1 << 8, 1 << 10, 1 << 5, 1 << 12
BEYOND_48 = 0xFF11_0000_1F00_0000
FPU, FXSR, SSE2 = 0, 24, 26


def test_a_board_enters_64_bit_mode_by_the_registers_that_guests_write(machine: X86Machine) -> None:
    """EFER.LMA is nobody's to set."""
    machine.place(b"\x90", 64)
    for name, value in (("efer", LME), ("cr4", PAE), ("cr0", PE | PG)):
        machine[name] = value
    assert machine["efer"] == LME | LMA
    machine["cr0"] = PE
    assert machine["efer"] == LME


@pytest.mark.parametrize("levels", [4, 5])
def test_tables_may_lie_wherever_addresses_are_canonical(machine: X86Machine, levels: int) -> None:
    code = assemble(f"lgdt [{DATA}]\nmov dword ptr [0x40000000], eax", 64, CODE)
    machine.place(code, 64, cr4=PAE | (LA57 if levels == 5 else 0))
    machine.put(DATA, (0x7F).to_bytes(2, "little") + BEYOND_48.to_bytes(8, "little"))
    if levels == 5:
        assert machine.finish() == 0
        assert machine["gdtr.base"] == BEYOND_48
    else:
        machine.run()  # #GP, which nobody has a handler for
        assert machine["gdtr.base"] != BEYOND_48


def test_cpuid_announces_what_is_described(machine: X86Machine) -> None:
    machine.do("cpuid", rax=1)
    for bit in (FPU, FXSR, SSE2):
        assert machine["rdx"] >> bit & 1, bit
