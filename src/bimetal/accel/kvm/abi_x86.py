"""The parts of the KVM interface that are x86's own.

Source: Linux ``Documentation/virt/kvm/api.rst``, ``arch/x86/include/uapi/asm/kvm.h`` and
``kvm_para.h``.
"""

from __future__ import annotations

import struct
from typing import Final

from bimetal.accel.kvm.abi import io, ior, iow, iowr
from bimetal.accel.kvm.layout import Layout

__all__ = [
    "CONTROL_REGISTERS",
    "CPUID_ENTRY",
    "CPUID_HEADER",
    "CPUID_INDEX_SIGNIFICANT",
    "CREATE_IRQCHIP",
    "DEBUG_REGS",
    "EVENTS",
    "EVENTS_SIZE",
    "GENERAL_REGISTERS",
    "GET_CLOCK",
    "GET_DEBUGREGS",
    "GET_IRQCHIP",
    "GET_LAPIC",
    "GET_MSRS",
    "GET_MSR_INDEX_LIST",
    "GET_REGS",
    "GET_SREGS",
    "GET_SUPPORTED_CPUID",
    "GET_TSC_KHZ",
    "GET_VCPU_EVENTS",
    "GET_XCRS",
    "GET_XSAVE",
    "GET_XSAVE2",
    "GUEST_DEBUG",
    "IDENTITY_MAP_ADDRESS",
    "IO_APIC",
    "IO_APIC_PINS",
    "IRQCHIP_SIZE",
    "LAPIC_SIZE",
    "MP_STATE_RUNNABLE",
    "MP_STATE_UNINITIALIZED",
    "MSR_ENTRY",
    "MSR_EXIT",
    "MSR_EXIT_UNKNOWN",
    "MSR_HEADER",
    "NMI",
    "PIC_MASTER",
    "PIC_SLAVE",
    "REGS",
    "ROUTE_IRQCHIP",
    "ROUTE_MSI",
    "ROUTE_TO_IRQCHIP",
    "ROUTE_TO_MSI",
    "SEGMENTS",
    "SET_CLOCK",
    "SET_CPUID2",
    "SET_DEBUGREGS",
    "SET_GUEST_DEBUG",
    "SET_IDENTITY_MAP_ADDR",
    "SET_IRQCHIP",
    "SET_LAPIC",
    "SET_MSRS",
    "SET_REGS",
    "SET_SREGS",
    "SET_TSC_KHZ",
    "SET_TSS_ADDR",
    "SET_VCPU_EVENTS",
    "SET_XCRS",
    "SET_XSAVE",
    "SREGS",
    "TABLES",
    "TRANSLATE",
    "TRANSLATION",
    "TSS_ADDRESS",
    "XCRS_SIZE",
    "XSAVE_SIZE",
]

GENERAL_REGISTERS = (
    "rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags".split()
)
SEGMENTS = "cs ds es fs gs ss tr ldtr".split()
TABLES = "gdtr idtr".split()
CONTROL_REGISTERS = "cr0 cr2 cr3 cr4 cr8 efer apic_base".split()

REGS = Layout(" ".join(f"{name}:Q" for name in GENERAL_REGISTERS))

_SEGMENT = (
    "{0}.base:Q {0}.limit:I {0}.selector:H {0}.type:B {0}.present:B {0}.dpl:B {0}.db:B {0}.s:B "
    "{0}.l:B {0}.g:B {0}.avl:B {0}.unusable:B {0}.padding:B "
)
_TABLE = "{0}.base:Q {0}.limit:H {0}.padding:6s "
SREGS = Layout(
    "".join(_SEGMENT.format(name) for name in SEGMENTS)
    + "".join(_TABLE.format(name) for name in TABLES)
    + " ".join(f"{name}:Q" for name in CONTROL_REGISTERS)
    + " interrupt_bitmap:32s"
)
DEBUG_REGS = Layout("dr0:Q dr1:Q dr2:Q dr3:Q dr6:Q dr7:Q flags:Q reserved:72s")
GUEST_DEBUG = Layout("control:I padding:I dr0:Q dr1:Q dr2:Q dr3:Q dr4:Q dr5:Q dr6:Q dr7:Q")
EVENTS = Layout(
    "exception.injected:B exception.number:B exception.has_code:B exception.pending:B "
    "exception.code:I interrupt.injected:B interrupt.number:B interrupt.soft:B "
    "interrupt.shadow:B nmi.injected:B nmi.pending:B nmi.masked:B nmi.padding:B sipi_vector:I "
    "flags:I smi.smm:B smi.pending:B smi.inside_nmi:B smi.latched_init:B triple_fault:B "
    "reserved:26s exception.has_payload:B exception.payload:Q"
)
TRANSLATION = Layout("linear:Q physical:Q valid:B writeable:B user:B padding:5s")

IRQCHIP_SIZE: Final = 520
LAPIC_SIZE: Final = 1024
EVENTS_SIZE: Final = EVENTS.size
XSAVE_SIZE: Final = 4096
XCRS_SIZE: Final = 392

CPUID_HEADER = struct.Struct("<II")
CPUID_ENTRY = struct.Struct("<IIIIIII12x")
"""function, index, flags, eax, ebx, ecx, edx"""
CPUID_INDEX_SIGNIFICANT: Final = 1

MSR_HEADER = struct.Struct("<II")
MSR_ENTRY = struct.Struct("<IIQ")
"""index, reserved, value"""
MSR_EXIT = struct.Struct("<B7xIIQ")
"""error (to be set), reason, index, data"""
MSR_EXIT_UNKNOWN: Final = 2

ROUTE_IRQCHIP = struct.Struct("<IIIIII24x")
"""gsi, type, flags, padding, chip, pin"""
ROUTE_MSI = struct.Struct("<IIIIIIII16x")
"""gsi, type, flags, padding, address low, address high, data, device"""
ROUTE_TO_IRQCHIP: Final = 1
ROUTE_TO_MSI: Final = 2
PIC_MASTER, PIC_SLAVE, IO_APIC = 0, 1, 2
IO_APIC_PINS: Final = 24

# Requests to /dev/kvm
GET_MSR_INDEX_LIST = iowr(0x02, 4)
GET_SUPPORTED_CPUID = iowr(0x05, 8)

# Requests to a virtual machine
SET_TSS_ADDR = io(0x47)
SET_IDENTITY_MAP_ADDR = iow(0x48, 8)
CREATE_IRQCHIP = io(0x60)
GET_IRQCHIP = iowr(0x62, IRQCHIP_SIZE)
SET_IRQCHIP = ior(0x63, IRQCHIP_SIZE)
SET_CLOCK = iow(0x7B, 48)
GET_CLOCK = ior(0x7C, 48)

# Requests to a virtual CPU
GET_REGS = ior(0x81, REGS.size)
SET_REGS = iow(0x82, REGS.size)
GET_SREGS = ior(0x83, SREGS.size)
SET_SREGS = iow(0x84, SREGS.size)
TRANSLATE = iowr(0x85, TRANSLATION.size)
GET_MSRS = iowr(0x88, MSR_HEADER.size)
SET_MSRS = iow(0x89, MSR_HEADER.size)
GET_LAPIC = ior(0x8E, LAPIC_SIZE)
SET_LAPIC = iow(0x8F, LAPIC_SIZE)
SET_CPUID2 = iow(0x90, CPUID_HEADER.size)
NMI = io(0x9A)
SET_GUEST_DEBUG = iow(0x9B, GUEST_DEBUG.size)
GET_VCPU_EVENTS = ior(0x9F, EVENTS_SIZE)
SET_VCPU_EVENTS = iow(0xA0, EVENTS_SIZE)
GET_DEBUGREGS = ior(0xA1, DEBUG_REGS.size)
SET_DEBUGREGS = iow(0xA2, DEBUG_REGS.size)
SET_TSC_KHZ = io(0xA2)
GET_TSC_KHZ = io(0xA3)
GET_XSAVE = ior(0xA4, XSAVE_SIZE)
SET_XSAVE = iow(0xA5, XSAVE_SIZE)
GET_XCRS = ior(0xA6, XCRS_SIZE)
SET_XCRS = iow(0xA7, XCRS_SIZE)
GET_XSAVE2 = ior(0xCF, XSAVE_SIZE)

TSS_ADDRESS: Final = 0xFFFB_D000
"""Three pages that Intel processors without unrestricted guests need, below the firmware."""
IDENTITY_MAP_ADDRESS: Final = 0xFFFB_C000
"""One more page for them, before the three."""

MP_STATE_RUNNABLE: Final = 0
MP_STATE_UNINITIALIZED: Final = 1
