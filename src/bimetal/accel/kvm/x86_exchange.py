"""The state of an x86 vCPU as KVM saves it, and as our own vCPUs have it: from one to the other.

Both are plain values. What neither of them says is not lost: what our vCPUs derive is worked out
again (`completing`), and what one of them cannot hold is a `BimetalError`. Registers of the local
APIC are the board's with our accelerators, and not dealt with here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm.x86_registers import ATTRIBUTES
from bimetal.accel.kvm.x86_xsave import area_of, files_of
from bimetal.accel.saved import Saved
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.isa.x86 import x86 as isa
from bimetal.isa.x86.debug import BD, BS, BT, CONDITIONS, GD

__all__ = [
    "ACKNOWLEDGED", "AGAIN", "KNOWN_COMPONENTS", "NMI_PENDING", "XCR0_ENTRY", "check_paravirtual",
    "from_kernel", "to_kernel",
]  # fmt: skip

GENERAL = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split()
"""In the order of the register file."""
SEGMENTS = "es cs ss ds fs gs ldtr tr".split()
CS = SEGMENTS.index("cs")
CONTROL = "cr0 cr2 cr3 cr4 efer".split()
DPL, PRESENT, L_BIT, UNUSABLE = 3 << 5, 1 << 7, 1 << 13, 1 << 16
LMA, IF = 1 << 10, 1 << 9
FLAG_PLACES = {"cf": 0, "pf": 2, "af": 4, "zf": 6, "sf": 7, "of": 11}
ARITHMETIC = sum(1 << place for place in FLAG_PLACES.values())
ALWAYS = 1 << 1
XCR0_ENTRY = 16
KNOWN_COMPONENTS = 7
"""Bits of XCR0: the state that both have."""

TSC, TSC_ADJUST, TSC_DEADLINE = 0x10, 0x3B, 0x6E0
MSRS = {
    0x174: "sysenter_cs", 0x175: "sysenter_esp", 0x176: "sysenter_eip", 0x277: "pat",
    0xC000_0081: "star", 0xC000_0082: "lstar", 0xC000_0083: "cstar", 0xC000_0084: "sfmask",
    0xC000_0102: "kernel_gs_base", 0xC000_0103: "tsc_aux", 0x1A0: "misc_enable",
    0x2FF: "mtrr_default", 0x3A: "feature_control", 0x48: "spec_ctrl", TSC_ADJUST: "tsc_adjust",
}  # fmt: skip
"""Model-specific registers that both have, and the register files that hold them with us."""
SELDOM = {0xC000_0103, 0x1A0, 0x3A, 0x48, 0x2FF}
"""Those that a kernel may not have, or may refuse, as long as they have the value of a reset."""
RESET_VALUES = {0x1A0: 1}
MTRRS = {**{0x200 + n: n for n in range(16)}, **{0x250 + n: 16 + n for n in range(32)}}
"""Memory type range registers, and their places in the file of them."""
PARAVIRTUAL = {0x12: "clock", 0x4B56_4D01: "clock", 0x4B56_4D02: "page faults",
               0x4B56_4D03: "stolen time", 0x4B56_4D04: "ends of interrupts"}  # fmt: skip
"""MSRs by which guests switch on what KVM offers beside a processor: bit 0 (Linux
``Documentation/virt/kvm/x86/msr.rst``)."""

MOV_SS, STI = 1, 2
ACKNOWLEDGED = 1 << 8
NMI_PENDING, SIPI, SHADOW, TRIPLE_FAULT = 1, 2, 4, 32
"""Which fields of pending events are valid."""
RUNNABLE, UNINITIALIZED, INIT_RECEIVED, HALTED = range(4)
TRAPS = (1, 3, 4)
"""Exceptions that are reported behind their instruction: #DB, #BP, #OF."""
DEBUG = 1
TRAPPED = CONDITIONS | BS | BT
"""What DR6 says of a #DB that is reported behind its instruction."""
AGAIN = "let it run for a moment, and save it again"
WORD = (1 << 64) - 1


def to_kernel(saved: Saved, *, now: int, parked: bool) -> dict[str, Any]:
    """The state for KVM of a vCPU of ours that is between two instructions, at the moment ``now``
    of the machine's clock; ``parked``, it waits for a start-up interrupt. The local APIC is to be
    added. Raises `BimetalError`."""
    files = saved.registers
    if files["shutdown"][0]:
        raise _lost("the CPU has shut down after a triple fault", "reset the machine")
    return {
        "regs": bytes(_general(files)),
        "sregs": bytes(_special(files)),
        "xcrs": _extended(files["xcr0"][0]),
        "debug": bytes(_debug(files["dr"], files["debug_pending"][0])),
        "xsave": area_of(files, saved.flags),
        "events": bytes(_events(saved)),
        "msrs": _msrs(files, now),
        "mp_state": INIT_RECEIVED if parked else HALTED if saved.waited else RUNNABLE,
        "halted": False,
        "lines": [],
        "pending": [],
    }


def _general(files: Mapping[str, list[int]]) -> bytearray:
    flags = ALWAYS | files["system_flags"][0]
    flags |= sum(files[name][0] << place for name, place in FLAG_PLACES.items())
    long = _is_long(files)
    rip = files["pc"][0] if long else files["pc"][0] - files["base"][CS] & 0xFFFF_FFFF
    named = dict(zip(GENERAL, files["r"], strict=False))
    return x86.REGS.new(**named, rip=rip, rflags=flags)


def _is_long(files: Mapping[str, list[int]]) -> bool:
    return bool(files["efer"][0] & LMA and files["attributes"][CS] & L_BIT)


def _special(files: Mapping[str, list[int]]) -> bytearray:
    sregs = bytearray(x86.SREGS.size)
    for number, name in enumerate(SEGMENTS):
        rights = files["attributes"][number]
        if rights & UNUSABLE or not rights & PRESENT:
            rights = UNUSABLE | rights & DPL
        for field, low, width in ATTRIBUTES:
            x86.SREGS.put(sregs, f"{name}.{field}", rights >> low & (1 << width) - 1)
        for field in ("selector", "base", "limit"):
            x86.SREGS.put(sregs, f"{name}.{field}", files[field][number])
    for name in x86.TABLES:
        for field in ("base", "limit"):
            x86.SREGS.put(sregs, f"{name}.{field}", files[f"{name}_{field}"][0])
    for name in CONTROL:
        x86.SREGS.put(sregs, name, files[name][0])
    return sregs


def _extended(xcr0: int) -> bytes:
    xcrs = bytearray(x86.XCRS_SIZE)
    xcrs[0:4] = (1).to_bytes(4, "little")
    xcrs[XCR0_ENTRY : XCR0_ENTRY + 8] = xcr0.to_bytes(8, "little")
    return bytes(xcrs)


def _debug(dr: list[int], waiting: int) -> bytearray:
    """The debug registers. KVM delivers a #DB that waits, and leaves to us what the processor does
    to them then (18.3)."""
    registers = {f"dr{n}": dr[n] for n in (0, 1, 2, 3, 6, 7)}
    if waiting:
        registers["dr6"] = dr[6] & ~CONDITIONS | waiting
        registers["dr7"] = dr[7] & ~GD
    return x86.DEBUG_REGS.new(**registers)


def _events(saved: Saved) -> bytearray:
    files, retired = saved.registers, saved.retired
    events = x86.EVENTS.new(flags=NMI_PENDING | SHADOW)
    shaded = files["debug_shadow"][0] == retired != 0
    if files["shadow"][0] == retired != 0:
        # Where interrupts are off there is nothing for STI to hold back, and processors refuse it.
        of_sti = STI if files["system_flags"][0] & IF else 0
        x86.EVENTS.put(events, "interrupt.shadow", MOV_SS if shaded else of_sti)
    if files["debug_pending"][0]:
        if shaded:
            raise _lost("a debug exception is to come behind the next instruction", AGAIN)
        x86.EVENTS.put(events, "exception.injected", 1)
        x86.EVENTS.put(events, "exception.number", DEBUG)
    taken = files["acknowledged"][0]
    if taken & ACKNOWLEDGED:
        x86.EVENTS.put(events, "interrupt.injected", 1)
        x86.EVENTS.put(events, "interrupt.number", taken & 0xFF)
    x86.EVENTS.put(events, "nmi.pending", files["line"][1])
    x86.EVENTS.put(events, "nmi.masked", files["nmi_blocked"][0])
    return events


def _msrs(files: Mapping[str, list[int]], now: int) -> dict[int, int]:
    """The time-stamp counter first: what waits for a moment of it comes later."""
    msrs = {TSC: now + files["tsc_offset"][0] + files["tsc_adjust"][0] & WORD}
    for index, name in MSRS.items():
        value = files[name][0]
        if index not in SELDOM or value != RESET_VALUES.get(index, 0):
            msrs[index] = value
    msrs |= {index: files["mtrr"][at] for index, at in MTRRS.items() if files["mtrr"][at]}
    return msrs


def from_kernel(
    state: Mapping[str, Any], *, index: int, now: int, tsc_offset: int | None = None
) -> tuple[Saved, bool]:
    """The inverse of `to_kernel`, for CPU ``index``: the vCPU's state, and whether it waits for a
    start-up interrupt. What is derived is 0; the time-stamp counter is ``tsc_offset`` ahead of the
    machine's clock, which shows ``now``, or as far as it was. Raises `BimetalError`."""
    files = {name: [0] * file.count for name, file in isa.state.saved.items()}
    xmm, flags = files_of(state["xsave"])
    files |= xmm
    msrs: Mapping[int, int] = state["msrs"]
    sregs, debug = bytes(state["sregs"]), bytes(state["debug"])
    for number, name in enumerate(SEGMENTS):
        for field in ("selector", "base", "limit"):
            files[field][number] = x86.SREGS.get(sregs, f"{name}.{field}")
        files["attributes"][number] = _rights(sregs, name)
    for name in x86.TABLES:
        for field in ("base", "limit"):
            files[f"{name}_{field}"][0] = x86.SREGS.get(sregs, f"{name}.{field}")
    for name in CONTROL:
        files[name][0] = x86.SREGS.get(sregs, name)
    files["dr"] = [x86.DEBUG_REGS.get(debug, f"dr{n}") if n not in (4, 5) else 0 for n in range(8)]
    files["xcr0"][0] = _xcr0(state["xcrs"])
    _put_general(files, bytes(state["regs"]))
    for number, name in MSRS.items():
        files[name][0] = msrs.get(number, RESET_VALUES.get(number, 0))
    for number, at in MTRRS.items():
        files["mtrr"][at] = msrs.get(number, 0)
    if tsc_offset is None:
        tsc_offset = msrs[TSC] - now - files["tsc_adjust"][0]
    files["tsc_offset"][0], files["cpu_index"][0] = tsc_offset & WORD, index
    run = state.get("mp_state", RUNNABLE)
    if run not in (RUNNABLE, UNINITIALIZED, INIT_RECEIVED, HALTED):
        raise _lost("the CPU is about to be started by another one", AGAIN)
    retired = _put_events(files, bytes(state["events"]))
    waits = run == HALTED or bool(state["halted"])
    saved = Saved(files, flags, retired, waited=waits)
    return saved, run in (UNINITIALIZED, INIT_RECEIVED)


def check_paravirtual(msrs: Mapping[int, int]) -> None:
    """Raise `BimetalError` if the guest uses what KVM alone has."""
    for number, on in PARAVIRTUAL.items():
        if msrs.get(number, 0) & 1:
            raise _lost(
                f"the guest uses KVM's own {on}, which a processor has not",
                "start it with the processor that both have: --accel kvm --cpu max",
            )


def _rights(sregs: bytes, name: str) -> int:
    """The access rights of a segment. KVM on AMD's processors says "unusable" of what is not
    present, with whatever type."""
    rights = sum(x86.SREGS.get(sregs, f"{name}.{field}") << low for field, low, _ in ATTRIBUTES)
    return UNUSABLE | rights & DPL if rights & UNUSABLE or not rights & PRESENT else rights


def _put_general(files: dict[str, list[int]], regs: bytes) -> None:
    files["r"][:16] = [x86.REGS.get(regs, name) for name in GENERAL]
    flags = x86.REGS.get(regs, "rflags")
    for name, place in FLAG_PLACES.items():
        files[name][0] = flags >> place & 1
    files["system_flags"][0] = flags & ~(ARITHMETIC | ALWAYS)
    rip = x86.REGS.get(regs, "rip")
    files["pc"][0] = rip if _is_long(files) else rip + files["base"][CS] & WORD


def _xcr0(xcrs: bytes) -> int:
    value = int.from_bytes(xcrs[XCR0_ENTRY : XCR0_ENTRY + 8], "little")
    if value & ~KNOWN_COMPONENTS:
        raise _lost(
            f"the guest has enabled state of its processor (XCR0 {value:#x}) that only KVM has",
            "start it with the processor that both have: --accel kvm --cpu max",
        )
    return value


def _put_events(files: dict[str, list[int]], events: bytes) -> int:
    """Set what is pending; how many instructions have retired, as shadows refer to that."""

    def has(name: str) -> int:
        return x86.EVENTS.get(events, name)

    if has("smi.smm") or has("smi.pending"):
        raise _lost("the CPU is in system-management mode", AGAIN)
    if has("triple_fault") and has("flags") & TRIPLE_FAULT:
        raise _lost("the CPU has shut down after a triple fault", "reset the machine")
    number = has("exception.number")
    if (has("exception.pending") or has("exception.injected")) and number in TRAPS:
        files["debug_pending"][0] = files["dr"][6] & TRAPPED if number == DEBUG else 0
        detected = number == DEBUG and files["dr"][6] & BD
        if not files["debug_pending"][0] and not detected:
            raise _lost(f"an exception (vector {number}) is about to be delivered", AGAIN)
    # Any other one is a fault: its instruction is executed again, and has the same one.
    if has("interrupt.injected") and not has("interrupt.soft"):
        files["acknowledged"][0] = ACKNOWLEDGED | has("interrupt.number")
    files["line"][1] = int(bool(has("nmi.pending") or has("nmi.injected")))
    files["nmi_blocked"][0] = int(bool(has("nmi.masked") and not has("nmi.injected")))
    retired = 1
    shadow = has("interrupt.shadow")
    files["shadow"][0] = retired if shadow else 0
    # AMD's processors do not tell which one it is: KVM says both.
    files["debug_shadow"][0] = retired if shadow == MOV_SS else 0
    return retired


def _lost(cause: str, remedy: str) -> BimetalError:
    return BimetalError(cause, remedy, ExitCode.UNAVAILABLE)
