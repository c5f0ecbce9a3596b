"""Registers that a program outside sets: what no guest could bring about is refused.

The state has to pass what VMENTER asks of a guest's (volume 3, "Checking and Loading Guest State"):
reserved bits, combinations of bits, canonical addresses. Which bits there are depends on the
processor's model. Transitions are free: paging may be switched on with long mode at once.
"""

from __future__ import annotations

from collections.abc import Callable

from .control import CD, ET, LA57, LMA, LME, NW, PAE, PCIDE, PE, PG
from .fields import LONG
from .flags import VM
from .identity import SETTABLE
from .models import PHYSICAL_BITS
from .state import DS, SEGMENTS, x86
from .vector_state import MXCSR_MASK

__all__: list[str] = []

Read = Callable[[str, int], int]

CR0_BITS = 0xE005_003F
PRIORITIES = 15
MEMORY_TYPES = (0, 1, 4, 5, 6, 7)
"""What the entries of IA32_PAT can be (volume 3, table 13-10)."""
DR6_BITS, DR6_ONES, DR7_BITS, DR7_ONES = 0xE00F, 0xFFFF_0FF0, 0xFFFF_23FF, 0x400
X87, SSE, AVX = 1, 2, 4
"""Of XCR0 (volume 1, 13.3)."""


def _need(holds: bool, register: str, value: int, why: str) -> None:
    if not holds:
        raise ValueError(f"{register} cannot be {value:#x}: {why}")


def _within(bits: int, register: str, value: int) -> None:
    beyond = value & ~bits
    _need(not beyond, register, value, f"this processor has no bits {beyond:#x} of it")


def _canonical(register: str, value: int, read: Read) -> None:
    """See `canonical`."""
    bits = 57 if read("cr4", 0) & LA57 else 48
    same = value >> bits - 1 in (0, (1 << 65 - bits) - 1)
    _need(same, register, value, f"it is no canonical address, of {bits} bits")


def _long_mode(register: str, value: int, cr0: int, cr4: int, efer: int) -> None:
    """Long mode is paging of PAE's kind."""
    long = cr0 & PG and efer & LME
    _need(not long or bool(cr4 & PAE), register, value, "long mode needs CR4.PAE")


@x86.state.admission("cr0")
def cr0(read: Read, index: int, value: int) -> int:
    """2.5. Reserved bits of the lower half are ignored."""
    _need(not value >> 32, "cr0", value, "bits 63:32 are reserved")
    _need(not value & PG or bool(value & PE), "cr0", value, "paging (PG) needs protection (PE)")
    _need(not value & NW or bool(value & CD), "cr0", value, "NW needs CD")
    _long_mode("cr0", value, value, read("cr4", 0), read("efer", 0))
    _need(bool(value & PG) or not read("cr4", 0) & PCIDE, "cr0", value, "CR4.PCIDE needs paging")
    return value & CR0_BITS | ET


@x86.state.admission("cr3")
def cr3(read: Read, index: int, value: int) -> int:
    """2.5."""
    _within((1 << PHYSICAL_BITS) - 1, "cr3", value)
    return value


@x86.state.admission("cr4")
def cr4(read: Read, index: int, value: int) -> int:
    """2.5."""
    _within(read("settable", SETTABLE.index("cr4")), "cr4", value)
    long = bool(read("efer", 0) & LMA)
    _long_mode("cr4", value, read("cr0", 0), value, read("efer", 0))
    _need(long or not value & PCIDE, "cr4", value, "PCIDE needs long mode")
    return value


@x86.state.admission("cr8")
def cr8(read: Read, index: int, value: int) -> int:
    """11.8.6. (The board's local APIC has it; see `insns.system`.)"""
    _within(PRIORITIES, "cr8", value)
    return value


@x86.state.admission("efer")
def efer(read: Read, index: int, value: int) -> int:
    """2.2.1."""
    _within(read("settable", SETTABLE.index("efer")), "efer", value)
    _long_mode("efer", value, read("cr0", 0), read("cr4", 0), value)
    return value


@x86.state.admission("xcr0")
def xcr0(read: Read, index: int, value: int) -> int:
    """XSETBV."""
    _within(read("settable", SETTABLE.index("xcr0")) | X87, "xcr0", value)
    _need(bool(value & X87), "xcr0", value, "bit 0, the x87, cannot be 0")
    _need(not value & AVX or bool(value & SSE), "xcr0", value, "bit 2 (AVX) needs bit 1 (SSE)")
    return value


@x86.state.admission("dr")
def debug_registers(read: Read, index: int, value: int) -> int:
    """18.2. DR6 and DR7 have bits that are always 1."""
    if index < 6:
        return value
    _need(not value >> 32, f"dr{index}", value, "bits 63:32 are reserved")
    if index == 6:
        return value & DR6_BITS | DR6_ONES
    return value & DR7_BITS | DR7_ONES


@x86.state.admission("pc", "rip")
def program_counter(read: Read, index: int, value: int) -> int:
    """Volume 1, 3.5: 32 bits, but in 64-bit mode."""
    if read("decoding", 0) == LONG:
        _canonical("rip", value, read)
    else:
        _need(not value >> 32, "rip", value, "it has 32 bits in this mode")
    return value


@x86.state.admission("base")
def bases(read: Read, index: int, value: int) -> int:
    """3.4.4: those of ES, CS, SS and DS are as wide as their descriptors have them."""
    name = f"{SEGMENTS[index]}.base"
    if index <= DS:
        _need(not value >> 32, name, value, "it has 32 bits")
    _canonical(name, value, read)
    return value


def _address(name: str, shown: str) -> None:
    @x86.state.admission(name)
    def admit(read: Read, index: int, value: int) -> int:
        _canonical(shown, value, read)
        return value


for _name in ("sysenter_esp", "sysenter_eip", "lstar", "cstar", "kernel_gs_base"):
    _address(_name, _name)
for _name in ("gdtr", "idtr"):
    _address(f"{_name}_base", f"{_name}.base")


@x86.state.admission("pat")
def pat(read: Read, index: int, value: int) -> int:
    """13.12.2."""
    known = all(entry in MEMORY_TYPES for entry in value.to_bytes(8, "little"))
    _need(known, "pat", value, "an entry of it is no type of memory")
    return value


@x86.state.admission("mxcsr")
def mxcsr(read: Read, index: int, value: int) -> int:
    """Volume 1, 10.2.3."""
    _within(MXCSR_MASK, "mxcsr", value)
    return value


@x86.state.admission("rflags")
def rflags(read: Read, index: int, value: int) -> int:
    """Volume 1, 3.4.3; virtual-8086 mode is one of protected mode, without long mode."""
    virtual = bool(read("cr0", 0) & PE) and not read("efer", 0) & LMA
    _need(virtual or not value & VM, "rflags", value, "there is no virtual-8086 mode now")
    return value
