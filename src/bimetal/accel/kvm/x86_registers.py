"""The registers of an x86 vCPU by name, wherever KVM keeps them.

Names are those of the Intel manual (SDM). A segment register ``cs`` is its selector; the hidden
part is ``cs.base``, ``cs.limit`` (in bytes) and ``cs.attributes`` in the format of the SDM's table
"Format of Access Rights" (volume 3, chapter 26): type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14,
G 15, unusable 16.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm.kernel import Handle
from bimetal.accel.kvm.layout import Layout

__all__ = ["REGISTERS", "Source", "read_msrs", "write_msrs"]


class Source(Protocol):
    """Where a register is kept and how it is reached."""

    def read(self, cpu: Handle) -> int:
        """The register's value."""

    def write(self, cpu: Handle, value: int) -> None:
        """Set it; OverflowError if ``value`` does not fit."""


class Field(Struct, frozen=True):
    """A field of a structure that is read and written as a whole."""

    get: int
    set: int
    layout: Layout
    name: str

    def read(self, cpu: Handle) -> int:
        return self.layout.get(cpu.read(self.get, self.layout.size), self.name)

    def write(self, cpu: Handle, value: int) -> None:
        buffer = cpu.read(self.get, self.layout.size)
        self.layout.put(buffer, self.name, value)
        cpu.ioctl(self.set, buffer)


CR0_PG = 1 << 31
EFER_LME, EFER_LMA = 1 << 8, 1 << 10


class ModeField(Field, frozen=True):
    """CR0 or EFER. Together they say whether 64-bit mode is active: EFER.LMA is not set by
    anybody but follows from CR0.PG and EFER.LME, as in the processor."""

    def write(self, cpu: Handle, value: int) -> None:
        buffer = cpu.read(self.get, self.layout.size)
        self.layout.put(buffer, self.name, value)
        efer = self.layout.get(buffer, "efer") & ~EFER_LMA
        if efer & EFER_LME and self.layout.get(buffer, "cr0") & CR0_PG:
            efer |= EFER_LMA
        self.layout.put(buffer, "efer", efer)
        cpu.ioctl(self.set, buffer)


ATTRIBUTES = (
    ("type", 0, 4),
    ("s", 4, 1),
    ("dpl", 5, 2),
    ("present", 7, 1),
    ("avl", 12, 1),
    ("l", 13, 1),
    ("db", 14, 1),
    ("g", 15, 1),
    ("unusable", 16, 1),
)
"""Field of ``struct kvm_segment``, its lowest bit among the attributes, its width."""


class Attributes(Struct, frozen=True):
    """The access rights of a segment, which KVM keeps in single bytes."""

    segment: str

    def read(self, cpu: Handle) -> int:
        buffer = cpu.read(x86.GET_SREGS, x86.SREGS.size)
        return sum(
            x86.SREGS.get(buffer, f"{self.segment}.{name}") << low for name, low, _ in ATTRIBUTES
        )

    def write(self, cpu: Handle, value: int) -> None:
        known = sum((1 << width) - 1 << low for _, low, width in ATTRIBUTES)
        if value & ~known:
            raise OverflowError(f"{value:#x} has bits that {self.segment}.attributes does not")
        buffer = cpu.read(x86.GET_SREGS, x86.SREGS.size)
        for name, low, width in ATTRIBUTES:
            bits = value >> low & (1 << width) - 1
            x86.SREGS.put(buffer, f"{self.segment}.{name}", bits)
        cpu.ioctl(x86.SET_SREGS, buffer)


class Msr(Struct, frozen=True):
    """A model-specific register."""

    index: int

    def read(self, cpu: Handle) -> int:
        values = read_msrs(cpu, [self.index])
        if not values:
            raise KeyError(f"this vCPU has no MSR {self.index:#x}")
        return values[self.index]

    def write(self, cpu: Handle, value: int) -> None:
        if value < 0 or value >> 64:
            raise OverflowError(f"{value:#x} does not fit the 64 bits of MSR {self.index:#x}")
        if not write_msrs(cpu, {self.index: value}):
            raise KeyError(f"this vCPU refuses {value:#x} in MSR {self.index:#x}")


class Xsave(Struct, frozen=True):
    """A field of the legacy area of XSAVE (SDM volume 1, table "XSAVE Area Layout").

    KVM_SET_XSAVE loads a component only if its bit in XSTATE_BV is set, so both legacy components
    (x87 and SSE) are marked as present.
    """

    offset: int
    size: int

    def read(self, cpu: Handle) -> int:
        area = cpu.read(x86.GET_XSAVE, x86.XSAVE_SIZE)
        return int.from_bytes(area[self.offset : self.offset + self.size], "little")

    def write(self, cpu: Handle, value: int) -> None:
        area = cpu.read(x86.GET_XSAVE, x86.XSAVE_SIZE)
        area[self.offset : self.offset + self.size] = value.to_bytes(self.size, "little")
        area[XSTATE_BV] |= 0b11
        cpu.ioctl(x86.SET_XSAVE, area)


XSTATE_BV = 512


class Xcr0:
    """Extended control register 0: which state components are enabled."""

    VALUE = 16

    def read(self, cpu: Handle) -> int:
        area = cpu.read(x86.GET_XCRS, x86.XCRS_SIZE)
        return int.from_bytes(area[self.VALUE : self.VALUE + 8], "little")

    def write(self, cpu: Handle, value: int) -> None:
        area = bytearray(x86.XCRS_SIZE)
        area[0:4] = (1).to_bytes(4, "little")
        area[self.VALUE : self.VALUE + 8] = value.to_bytes(8, "little")
        cpu.ioctl(x86.SET_XCRS, area)


def read_msrs(cpu: Handle, indices: list[int]) -> dict[int, int]:
    """The values of those ``indices`` that the vCPU has.

    KVM_GET_MSRS stops at the first that it does not have; this goes on behind it.
    """
    found: dict[int, int] = {}
    start = 0
    while start < len(indices):
        wanted = indices[start:]
        buffer = bytearray(x86.MSR_HEADER.pack(len(wanted), 0))
        for index in wanted:
            buffer += x86.MSR_ENTRY.pack(index, 0, 0)
        done = cpu.ioctl(x86.GET_MSRS, buffer)
        for number in range(done):
            place = x86.MSR_HEADER.size + number * x86.MSR_ENTRY.size
            index, _, value = x86.MSR_ENTRY.unpack_from(buffer, place)
            found[index] = value
        start += done + 1
    return found


def write_msrs(cpu: Handle, values: dict[int, int]) -> int:
    """Set MSRs in order, going on behind those that the vCPU refuses; how many it took."""
    items = list(values.items())
    start = taken = 0
    while start < len(items):
        buffer = bytearray(x86.MSR_HEADER.pack(len(items) - start, 0))
        for index, value in items[start:]:
            buffer += x86.MSR_ENTRY.pack(index, 0, value)
        done = cpu.ioctl(x86.SET_MSRS, buffer)
        taken += done
        start += done + 1
    return taken


NAMED_MSRS = {
    "tsc": 0x10,
    "sysenter_cs": 0x174,
    "sysenter_esp": 0x175,
    "sysenter_eip": 0x176,
    "pat": 0x277,
    "star": 0xC000_0081,
    "lstar": 0xC000_0082,
    "cstar": 0xC000_0083,
    "sfmask": 0xC000_0084,
    "kernel_gs_base": 0xC000_0102,
}


def _table() -> dict[str, Source]:
    table: dict[str, Source] = {}
    for name in x86.GENERAL_REGISTERS:
        table[name] = Field(x86.GET_REGS, x86.SET_REGS, x86.REGS, name)

    def special(name: str, field: str) -> None:
        table[name] = Field(x86.GET_SREGS, x86.SET_SREGS, x86.SREGS, field)

    for name in x86.SEGMENTS:
        special(name, f"{name}.selector")
        special(f"{name}.base", f"{name}.base")
        special(f"{name}.limit", f"{name}.limit")
        table[f"{name}.attributes"] = Attributes(name)
    for name in x86.TABLES:
        special(f"{name}.base", f"{name}.base")
        special(f"{name}.limit", f"{name}.limit")
    for name in x86.CONTROL_REGISTERS:
        special(name, name)
    for name in ("cr0", "efer"):
        table[name] = ModeField(x86.GET_SREGS, x86.SET_SREGS, x86.SREGS, name)
    table["xcr0"] = Xcr0()
    for name in ("dr0", "dr1", "dr2", "dr3", "dr6", "dr7"):
        table[name] = Field(x86.GET_DEBUGREGS, x86.SET_DEBUGREGS, x86.DEBUG_REGS, name)
    for name, index in NAMED_MSRS.items():
        table[name] = Msr(index)
    table |= {"fcw": Xsave(0, 2), "fsw": Xsave(2, 2), "mxcsr": Xsave(24, 4)}
    table |= {f"st{number}": Xsave(32 + 16 * number, 10) for number in range(8)}
    table |= {f"xmm{number}": Xsave(160 + 16 * number, 16) for number in range(16)}
    return table


REGISTERS = _table()
"""Every register that an x86 vCPU has, in the manual's order."""
