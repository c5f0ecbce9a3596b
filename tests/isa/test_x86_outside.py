"""Registers of x86 that a program sets from outside: no value gets in that a guest could not have
brought about (volume 3, "Checks on the Guest State Area": what VMENTER refuses)."""

from __future__ import annotations

import pytest

from bimetal.isa.x86.control import CD, ET, LA57, LMA, LME, NW, NXE, PAE, PCIDE, PE, PG
from tests.sketches.sketched import sketched

from .x86_machine import X86Machine, machines

machine = machines("reference", "interp")

AC, VM = 1 << 18, 1 << 17
TOO_FAR = 1 << 47
OSXSAVE, SMAP = 1 << 18, 1 << 21


@pytest.mark.parametrize(
    ("register", "value", "why"),
    [
        ("cr0", 1 << 32, "63:32"),
        ("cr0", PG, "PE"),
        ("cr0", PE | NW, "CD"),
        ("cr3", 1 << 46, "no bits 0x400000000000"),
        ("cr4", 1 << 13, "no bits 0x2000"),
        ("cr4", 1 << 63, "no bits"),
        ("cr4", PCIDE, "long mode"),
        ("cr8", 16, "no bits 0x10"),
        ("efer", 1 << 12, "no bits 0x1000"),
        ("efer", 1 << 1, "no bits 0x2"),
        ("xcr0", 0, "x87"),
        ("xcr0", 1 | 4, "SSE"),
        ("xcr0", 1 | 1 << 9, "no bits 0x200"),
        ("dr6", 1 << 32, "63:32"),
        ("dr7", 1 << 32, "63:32"),
        ("fs.base", TOO_FAR, "canonical"),
        ("gs.base", -TOO_FAR - 1 & (1 << 64) - 1, "canonical"),
        ("cs.base", 1 << 32, "32 bits"),
        ("gdtr.base", TOO_FAR, "canonical"),
        ("idtr.base", 1 << 63, "canonical"),
        ("lstar", TOO_FAR, "canonical"),
        ("kernel_gs_base", TOO_FAR, "canonical"),
        ("sysenter_eip", TOO_FAR, "canonical"),
        ("pat", 2, "memory"),
        ("mxcsr", 1 << 16, "no bits 0x10000"),
        ("rflags", VM, "virtual-8086"),
        ("rip", 1 << 32, "32 bits"),
    ],
)
def test_what_no_processor_holds_is_refused(
    machine: X86Machine, register: str, value: int, why: str
) -> None:
    machine.place(b"\x90", 16)
    before = machine[register]
    with pytest.raises(ValueError, match=rf"^{register} cannot be {value:#x}: .*{why}"):
        machine[register] = value
    assert machine[register] == before


def test_registers_hold_what_processors_hold(machine: X86Machine) -> None:
    machine.place(b"\x90", 16)
    for register, value in (
        ("cr0", PE | CD | NW | ET), ("cr3", (1 << 46) - 1), ("cr4", PAE | SMAP | OSXSAVE),
        ("xcr0", 7), ("fs.base", (1 << 64) - TOO_FAR), ("lstar", TOO_FAR - 1),
        ("pat", 0x0007_0406_0007_0506), ("mxcsr", 0xFFFF), ("rflags", VM | AC | 2),
    ):  # fmt: skip
        machine[register] = value
        assert machine[register] == value, register


def test_bits_that_are_always_the_same_stay_so(machine: X86Machine) -> None:
    """Debug registers: volume 3, 18.2.3 and 18.2.4; CR0: 2.5."""
    machine.place(b"\x90", 16)
    for register, value in (("dr6", 0xFFFF_0FF0), ("dr7", 0x400), ("cr0", ET)):
        machine[register] = 0
        assert machine[register] == value
    machine["cr0"] = 1 << 20 | PE
    assert machine["cr0"] == PE | ET


def test_long_mode_is_paging_of_one_kind(machine: X86Machine) -> None:
    machine.place(b"\x90", 16)
    machine["efer"] = LME | NXE
    with pytest.raises(ValueError, match=r"CR4\.PAE"):
        machine["cr0"] = PE | PG
    machine["cr4"] = PAE
    machine["cr0"] = PE | PG
    assert machine["efer"] == LME | LMA | NXE
    with pytest.raises(ValueError, match=r"CR4\.PAE"):
        machine["cr4"] = 0
    with pytest.raises(ValueError, match="virtual-8086"):
        machine["rflags"] = VM
    machine["cr4"] = PAE | PCIDE
    with pytest.raises(ValueError, match="PCIDE"):
        machine["cr0"] = PE


def test_an_instruction_of_64_bit_mode_has_a_canonical_address(machine: X86Machine) -> None:
    machine.place(b"\x90", 64)
    for register in ("rip", "pc"):
        machine[register] = 1 << 40
        assert machine["rip"] == 1 << 40
        with pytest.raises(ValueError, match="canonical"):
            machine[register] = TOO_FAR


def test_five_levels_have_longer_addresses(machine: X86Machine) -> None:
    machine.place(b"\x90", 16)
    machine["cr4"] = PAE | LA57
    machine["gs.base"] = TOO_FAR
    with pytest.raises(ValueError, match="57 bits"):
        machine["gs.base"] = 1 << 56


def test_a_processor_has_the_bits_of_its_features() -> None:
    with sketched("x86_64", "reference", "Nehalem") as small:
        with pytest.raises(ValueError, match="no bits 0x200000"):
            small["cr4"] = SMAP
        with pytest.raises(ValueError, match="no bits 0x40000"):
            small["cr4"] = OSXSAVE
        small["efer"] = NXE
        assert small["efer"] == NXE
