"""The KVM interface that all architectures share: request numbers, structures, exit reasons.

Source: Linux ``Documentation/virt/kvm/api.rst`` and ``include/uapi/linux/kvm.h``. Request numbers
are encoded as in ``asm-generic/ioctl.h``, which x86, Arm and RISC-V use.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from bimetal.accel.kvm.layout import Layout

__all__ = [
    "API_VERSION",
    "CAPABILITY",
    "CHECK_EXTENSION",
    "CLOCK",
    "COALESCED_ENTRY",
    "COALESCED_ZONE",
    "CREATE_DEVICE",
    "CREATE_VCPU",
    "CREATE_VM",
    "DEBUG_EXIT",
    "DEVICE",
    "DEVICE_ATTRIBUTE",
    "DEVICE_CREATE",
    "DIRTY_LOG",
    "EMULATION_FAILED",
    "ENABLE_CAP",
    "FAIL_ENTRY_EXIT",
    "GET_API_VERSION",
    "GET_DIRTY_LOG",
    "GET_MP_STATE",
    "GET_ONE_REG",
    "GET_REG_LIST",
    "GET_VCPU_MMAP_SIZE",
    "GUESTDBG_ENABLE",
    "GUESTDBG_SINGLESTEP",
    "GUESTDBG_USE_HW_BP",
    "GUESTDBG_USE_SW_BP",
    "HAS_DEVICE_ATTR",
    "INTERNAL_ERRORS",
    "INTERNAL_EXIT",
    "INTERRUPT",
    "IOEVENTFD",
    "IOEVENTFD_DATAMATCH",
    "IOEVENTFD_DEASSIGN",
    "IOEVENTFD_PORT",
    "IOEVENTFD_REQUEST",
    "IO_EXIT",
    "IRQFD",
    "IRQFD_DEASSIGN",
    "IRQFD_REQUEST",
    "IRQFD_RESAMPLE",
    "IRQ_LEVEL",
    "IRQ_LINE",
    "MEMORY_LOG_DIRTY",
    "MEMORY_READONLY",
    "MEMORY_REGION",
    "MMIO_EXIT",
    "MSI",
    "ONE_REG",
    "PAGE",
    "REGISTER_COALESCED_MMIO",
    "RUN",
    "SET_DEVICE_ATTR",
    "SET_GSI_ROUTING",
    "SET_MP_STATE",
    "SET_ONE_REG",
    "SET_USER_MEMORY_REGION",
    "SIGNAL_MSI",
    "SYSTEM_EVENT_CRASH",
    "SYSTEM_EVENT_EXIT",
    "SYSTEM_EVENT_RESET",
    "SYSTEM_EVENT_SHUTDOWN",
    "U32",
    "U64",
    "UNREGISTER_COALESCED_MMIO",
    "Capability",
    "ExitReason",
    "Run",
    "io",
    "ior",
    "iow",
    "iowr",
]

API_VERSION: Final = 12
DEVICE: Final = "/dev/kvm"
PAGE: Final = 4096


def _request(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | 0xAE << 8 | number


def io(number: int) -> int:
    """A request whose argument is a plain integer or nothing (``_IO``)."""
    return _request(0, number, 0)


def iow(number: int, size: int) -> int:
    """A request that reads ``size`` bytes from this process (``_IOW``)."""
    return _request(1, number, size)


def ior(number: int, size: int) -> int:
    """A request that writes ``size`` bytes to this process (``_IOR``)."""
    return _request(2, number, size)


def iowr(number: int, size: int) -> int:
    """A request that does both (``_IOWR``)."""
    return _request(3, number, size)


MEMORY_REGION = Layout("slot:I flags:I base:Q size:Q host:Q")
DIRTY_LOG = Layout("slot:I padding:I bitmap:Q")
IRQ_LEVEL = Layout("irq:I level:I")
IRQFD = Layout("fd:I gsi:I flags:I resample_fd:I padding:16s")
IOEVENTFD = Layout("match:Q address:Q length:I fd:I flags:I padding:36s")
COALESCED_ZONE = Layout("address:Q size:I port:I")
MSI = Layout("address_low:I address_high:I data:I flags:I device:I padding:12s")
CAPABILITY = Layout("number:I flags:I arg0:Q arg1:Q arg2:Q arg3:Q padding:64s")
CLOCK = Layout("clock:Q flags:I padding:I realtime:Q host_tsc:Q more:16s")
ONE_REG = Layout("id:Q address:Q")
DEVICE_CREATE = Layout("type:I fd:I flags:I")
DEVICE_ATTRIBUTE = Layout("flags:I group:I attribute:Q address:Q")

# Requests to /dev/kvm
GET_API_VERSION = io(0x00)
CREATE_VM = io(0x01)
CHECK_EXTENSION = io(0x03)
GET_VCPU_MMAP_SIZE = io(0x04)

# Requests to a virtual machine
CREATE_VCPU = io(0x41)
GET_DIRTY_LOG = iow(0x42, DIRTY_LOG.size)
SET_USER_MEMORY_REGION = iow(0x46, MEMORY_REGION.size)
IRQ_LINE = iow(0x61, IRQ_LEVEL.size)
REGISTER_COALESCED_MMIO = iow(0x67, COALESCED_ZONE.size)
UNREGISTER_COALESCED_MMIO = iow(0x68, COALESCED_ZONE.size)
SET_GSI_ROUTING = iow(0x6A, 8)
IRQFD_REQUEST = iow(0x76, IRQFD.size)
IOEVENTFD_REQUEST = iow(0x79, IOEVENTFD.size)
ENABLE_CAP = iow(0xA3, CAPABILITY.size)
SIGNAL_MSI = iow(0xA5, MSI.size)
CREATE_DEVICE = iowr(0xE0, DEVICE_CREATE.size)
SET_DEVICE_ATTR = iow(0xE1, DEVICE_ATTRIBUTE.size)
HAS_DEVICE_ATTR = iow(0xE3, DEVICE_ATTRIBUTE.size)

# Requests to a virtual CPU
RUN = io(0x80)
INTERRUPT = iow(0x86, 4)
GET_MP_STATE = ior(0x98, 4)
SET_MP_STATE = iow(0x99, 4)
GET_ONE_REG = iow(0xAB, ONE_REG.size)
SET_ONE_REG = iow(0xAC, ONE_REG.size)
GET_REG_LIST = iowr(0xB0, 8)


class Capability(IntEnum):
    """Numbers for KVM_CHECK_EXTENSION and KVM_ENABLE_CAP."""

    IRQCHIP = 0
    USER_MEMORY = 3
    EXT_CPUID = 7
    NR_VCPUS = 9
    NR_MEMSLOTS = 10
    MP_STATE = 14
    COALESCED_MMIO = 15
    SET_GUEST_DEBUG = 23
    IRQ_ROUTING = 25
    IRQFD = 32
    IOEVENTFD = 36
    ADJUST_CLOCK = 39
    VCPU_EVENTS = 41
    DEBUGREGS = 50
    XSAVE = 55
    XCRS = 56
    MAX_VCPUS = 66
    ONE_REG = 70
    TSC_DEADLINE_TIMER = 72
    SIGNAL_MSI = 77
    READONLY_MEM = 81
    IRQFD_RESAMPLE = 82
    SPLIT_IRQCHIP = 121
    IMMEDIATE_EXIT = 136
    COALESCED_PIO = 162
    X86_USER_SPACE_MSR = 188
    XSAVE2 = 208


class ExitReason(IntEnum):
    """``kvm_run.exit_reason``."""

    UNKNOWN = 0
    EXCEPTION = 1
    IO = 2
    HYPERCALL = 3
    DEBUG = 4
    HLT = 5
    MMIO = 6
    IRQ_WINDOW_OPEN = 7
    SHUTDOWN = 8
    FAIL_ENTRY = 9
    INTR = 10
    SET_TPR = 11
    TPR_ACCESS = 12
    NMI = 16
    INTERNAL_ERROR = 17
    SYSTEM_EVENT = 24
    IOAPIC_EOI = 26
    ARM_NISV = 28
    X86_RDMSR = 29
    X86_WRMSR = 30
    DIRTY_RING_FULL = 31
    X86_BUS_LOCK = 33
    RISCV_SBI = 35
    RISCV_CSR = 36
    NOTIFY = 37
    MEMORY_FAULT = 39


class Run:
    """Where things are in the mapped ``kvm_run`` of a vCPU."""

    REQUEST_INTERRUPT_WINDOW: Final = 0
    IMMEDIATE_EXIT: Final = 1
    EXIT_REASON: Final = 8
    READY_FOR_INJECTION: Final = 12
    IF_FLAG: Final = 13
    UNION: Final = 32
    MMIO_DATA: Final = 40
    MINIMUM_SIZE: Final = 4096


U32 = struct.Struct("<I")
U64 = struct.Struct("<Q")
IO_EXIT = struct.Struct("<BBHIQ")
"""direction (1 = out), size, port, count, offset of the data in ``kvm_run``"""
MMIO_EXIT = struct.Struct("<Q8sIB")
"""physical address, data, length, write"""
INTERNAL_EXIT = struct.Struct("<II16Q")
"""suberror, number of data words, data words"""
DEBUG_EXIT = struct.Struct("<IIQQQ")
"""exception, padding, pc, dr6, dr7 (x86); hsr, hsr_high, far (Arm)"""
FAIL_ENTRY_EXIT = struct.Struct("<QI")
"""hardware entry failure reason, CPU"""
SYSTEM_EVENT_EXIT = struct.Struct("<II16Q")
"""type, number of data words, data words"""
COALESCED_ENTRY = struct.Struct("<QII8s")
"""physical address or port, length, is a port, data"""

MEMORY_LOG_DIRTY: Final = 1
MEMORY_READONLY: Final = 2

IOEVENTFD_DATAMATCH: Final = 1
IOEVENTFD_PORT: Final = 2
IOEVENTFD_DEASSIGN: Final = 4

IRQFD_DEASSIGN: Final = 1
IRQFD_RESAMPLE: Final = 2

GUESTDBG_ENABLE: Final = 1
GUESTDBG_SINGLESTEP: Final = 2
GUESTDBG_USE_SW_BP: Final = 0x10000
GUESTDBG_USE_HW_BP: Final = 0x20000

SYSTEM_EVENT_SHUTDOWN: Final = 1
SYSTEM_EVENT_RESET: Final = 2
SYSTEM_EVENT_CRASH: Final = 3

EMULATION_FAILED: Final = 1
INTERNAL_ERRORS: Final = {
    EMULATION_FAILED: "emulation failed: the kernel's instruction emulator does not know the "
    "instruction ('bimetal kvm-ok' tells what works)",
    2: "simultaneous exceptions that the hardware cannot deliver",
    3: "an exit while an event was being delivered",
    4: "an exit that the kernel did not expect",
}
