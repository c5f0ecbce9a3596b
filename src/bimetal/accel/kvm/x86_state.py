"""The whole state of an x86 vCPU, saved and loaded in the order that KVM needs.

``load`` goes from what others depend on to what depends on it: special registers (they hold the
APIC's base) before the local APIC, the APIC before the MSRs (the TSC deadline arms its timer),
pending events and the run state last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bimetal.accel.kvm import abi
from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm.kernel import Handle
from bimetal.accel.kvm.x86_registers import read_msrs, write_msrs

__all__ = ["load_state", "msr_indices", "save_state"]

PLAIN = {
    "regs": (x86.GET_REGS, x86.SET_REGS, x86.REGS.size),
    "xcrs": (x86.GET_XCRS, x86.SET_XCRS, x86.XCRS_SIZE),
    "sregs": (x86.GET_SREGS, x86.SET_SREGS, x86.SREGS.size),
    "debug": (x86.GET_DEBUGREGS, x86.SET_DEBUGREGS, x86.DEBUG_REGS.size),
}
LAPIC = (x86.GET_LAPIC, x86.SET_LAPIC, x86.LAPIC_SIZE)
EVENTS = (x86.GET_VCPU_EVENTS, x86.SET_VCPU_EVENTS, x86.EVENTS_SIZE)


MTRRS = (*range(0x200, 0x210), 0x250, 0x258, 0x259, *range(0x268, 0x270), 0x2FF)
"""Memory type range registers (SDM volume 3, "MTRRs"), which KVM has and does not list."""


def msr_indices(device: Handle) -> list[int]:
    """The MSRs that this KVM saves: KVM_GET_MSR_INDEX_LIST, and the MTRRs."""
    limit = 1024
    buffer = device.read(x86.GET_MSR_INDEX_LIST, 4 + 4 * limit, number=limit)
    count = abi.U32.unpack_from(buffer)[0]
    listed = [abi.U32.unpack_from(buffer, 4 + 4 * place)[0] for place in range(count)]
    return list(dict.fromkeys([*listed, *MTRRS]))


def save_state(cpu: Handle, msrs: list[int], lapic: bool, xsave_size: int) -> dict[str, object]:
    """The state of ``cpu`` as plain values. ``lapic`` says whether the kernel models its APIC (and
    with it whether the CPU runs or waits), ``xsave_size`` how large XSAVE's area is here."""
    state: dict[str, object] = {}
    # First what changes registers in KVM by being asked for: a vCPU that another one starts has its
    # CS and RIP with its run state, and a waiting exception its DR6 or CR2 with the events.
    if lapic:
        state["mp_state"] = abi.U32.unpack(cpu.read(abi.GET_MP_STATE, 4))[0]
    state["events"] = bytes(cpu.read(*EVENTS[::2]))
    state |= {name: bytes(cpu.read(get, size)) for name, (get, _, size) in PLAIN.items()}
    get_xsave = x86.GET_XSAVE if xsave_size <= x86.XSAVE_SIZE else x86.GET_XSAVE2
    state["xsave"] = bytes(cpu.read(get_xsave, xsave_size))
    state["msrs"] = read_msrs(cpu, msrs)
    if lapic:
        state["lapic"] = bytes(cpu.read(*LAPIC[::2]))
    return state


def load_state(cpu: Handle, state: Mapping[str, Any], xsave_size: int = 0) -> None:
    """Restore what `save_state` returned. KVM reads as much as ``xsave_size`` of XSAVE's area."""
    for name in ("sregs", "regs", "xcrs", "debug"):
        cpu.ioctl(PLAIN[name][1], bytearray(state[name]))
    cpu.ioctl(x86.SET_XSAVE, bytearray(state["xsave"]).ljust(xsave_size, b"\0"))
    if "lapic" in state:
        cpu.ioctl(x86.SET_LAPIC, bytearray(state["lapic"]))
    write_msrs(cpu, state["msrs"])
    cpu.ioctl(x86.SET_VCPU_EVENTS, bytearray(state["events"]))
    if "mp_state" in state:
        cpu.ioctl(abi.SET_MP_STATE, bytearray(abi.U32.pack(state["mp_state"])))
