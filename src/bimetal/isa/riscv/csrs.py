"""Control and status registers: each declared once, with what reading and writing it means.

Numbers, access rules and fields follow volume II, chapter 2 and the chapters of each register.
Those of the Advanced Interrupt Architecture are in `aia`. Not implemented, and illegal to touch:
hypervisor CSRs, Smstateen, Sscofpmf, debug mode. Event counters 3 to 31 exist and always read as
zero. Trigger registers exist and hold no trigger.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir import fp
from ...ir.value import Value, const, select
from ..trace import Cpu, ret, when
from .csr import CSRS, WINDOWS, constant, declare, stored
from .extensions import MISA
from .mmu import ADUE, BARE, MPRV, MXR, SUM, SV39, SV48
from .pmp import update_pmp_active
from .state import rv64
from .traps import (
    MACHINE,
    MIE,
    MPIE,
    MPP,
    SIE,
    SPIE,
    SPP,
    STCE,
    SUPERVISOR,
    illegal,
    interrupts_pending,
    poll_timer,
    read_ticks,
)  # fmt: skip

__all__ = ["csr_check", "csr_modified", "csr_read", "csr_write", "read_mip", "write_mip"]

FS, TVM, TW, TSR, SD = 3 << 13, 1 << 20, 1 << 21, 1 << 22, 1 << 63
UXL_64, SXL_64 = 2 << 32, 2 << 34
SSTATUS = SIE | SPIE | SPP | FS | SUM | MXR
MSTATUS = SSTATUS | MIE | MPIE | MPRV | TVM | TW | TSR
SUPERVISOR_LINES = 1 << 1 | 1 << 5 | 1 << 9
ALL_LINES = SUPERVISOR_LINES | 1 << 3 | 1 << 7 | 1 << 11
DELEGABLE = 0xB3FF  # every exception of U and S mode but ecall from M
MENVCFG = STCE | ADUE | 1 << 7 | 1 << 6 | 3 << 4 | 1
SENVCFG = 1 << 7 | 1 << 6 | 3 << 4 | 1


# -- floating point (I 20.2)


def _need_fp(cpu: Cpu) -> None:
    with when((cpu.mstatus & FS) == 0):
        illegal(cpu)


def update_fp_ready(cpu: Cpu) -> None:
    """Recompute fp_ready after a change of mstatus.FS or frm."""
    dirty = (cpu.mstatus & FS) == FS
    cpu.fp_ready = (dirty & cpu.frm.ult(4)).zext(8)


def _fp_written(cpu: Cpu) -> None:
    cpu.mstatus = cpu.mstatus | FS
    update_fp_ready(cpu)


def _set_host_rounding(cpu: Cpu) -> None:
    """Modes above 3 do not exist on the host: fp_ready keeps fast code away from them."""
    mode = cpu.frm.trunc(3)
    fp.set_rounding(select(mode.ult(4), mode, 0))


def _set_frm(cpu: Cpu, mode: Value) -> None:
    cpu.frm = mode.zext(8)
    _set_host_rounding(cpu)
    _fp_written(cpu)


def _read_fflags(cpu: Cpu) -> Value:
    return fp.flags().zext(64)


def _write_fflags(cpu: Cpu, value: Value) -> None:
    fp.set_flags(value[4:0])
    _fp_written(cpu)


def _read_frm(cpu: Cpu) -> Value:
    value: Value = cpu.frm.zext(64)
    return value


def _write_frm(cpu: Cpu, value: Value) -> None:
    _set_frm(cpu, value[2:0])


def _read_fcsr(cpu: Cpu) -> Value:
    value: Value = fp.flags().zext(64) | cpu.frm.zext(64) << 5
    return value


def _write_fcsr(cpu: Cpu, value: Value) -> None:
    fp.set_flags(value[4:0])
    _set_frm(cpu, value[7:5])


declare(0x001, "fflags", _read_fflags, _write_fflags, _need_fp)
declare(0x002, "frm", _read_frm, _write_frm, _need_fp)
declare(0x003, "fcsr", _read_fcsr, _write_fcsr, _need_fp)

# -- status (II 3.1.6, 10.1.1)


def _status(cpu: Cpu) -> Value:
    dirty = (cpu.mstatus & FS) == FS
    value: Value = cpu.mstatus | UXL_64 | select(dirty, const(SD, 64), 0)
    return value


def _set_status(cpu: Cpu, value: Value, mask: int) -> None:
    old = cpu.mstatus
    with when(((value ^ old) & MXR & mask) != 0):
        cpu.host("flush", 0)
    cpu.mstatus = (old & ~mask) | (value & mask)
    update_fp_ready(cpu)


def _write_mstatus(cpu: Cpu, value: Value) -> None:
    mode = value & MPP
    with when(mode != 2 << 11):
        cpu.mstatus = (cpu.mstatus & ~MPP) | mode
    _set_status(cpu, value, MSTATUS)


declare(0x300, "mstatus", lambda cpu: _status(cpu) | SXL_64, _write_mstatus)
rv64.state.constrain("mstatus", MSTATUS | MPP, lambda status: status & MPP != 2 << 11)
declare(
    0x100, "sstatus",
    lambda cpu: _status(cpu) & (SSTATUS | UXL_64 | SD),
    lambda cpu, value: _set_status(cpu, value, SSTATUS),
)  # fmt: skip
declare(0x301, "misa", lambda cpu: const(MISA, 64), lambda cpu, value: None)

# -- interrupts and traps (II 3.1.7 to 3.1.15, 10.1)


def _set_pending(cpu: Cpu, value: Value, mask: Value | int) -> None:
    cpu.mip_soft = (cpu.mip_soft & ~_wide(mask)) | (value & mask)
    # A supervisor software interrupt may have been raised by the SBI, through the line.
    cpu.line[1] = select((_wide(mask) & 2) != 0, value[1].zext(8), cpu.line[1])


def _wide(mask: Value | int) -> Value:
    return mask if isinstance(mask, Value) else const(mask, 64)


def write_mip(cpu: Cpu, value: Value) -> None:
    """What software writes of mip."""
    with when((cpu.menvcfg & STCE) != 0) as sstc:
        _set_pending(cpu, value, SUPERVISOR_LINES & ~(1 << 5))
        with sstc.otherwise():
            _set_pending(cpu, value, SUPERVISOR_LINES)


def _write_sip(cpu: Cpu, value: Value) -> None:
    _set_pending(cpu, value, cpu.mideleg & 2)


def read_mip(cpu: Cpu) -> Value:
    """mip, with the timer as of now."""
    poll_timer(cpu)
    return interrupts_pending(cpu)


def _write_sie(cpu: Cpu, value: Value) -> None:
    cpu.mie = (cpu.mie & ~cpu.mideleg) | (value & cpu.mideleg)


stored(0x302, "medeleg", DELEGABLE)
stored(0x303, "mideleg", SUPERVISOR_LINES)
stored(0x304, "mie", ALL_LINES)
rv64.state.constrain("mip_soft", SUPERVISOR_LINES)
MIP = 0x344
declare(MIP, "mip", read_mip, write_mip)
declare(0x104, "sie", lambda cpu: cpu.mie & cpu.mideleg, _write_sie)
declare(0x144, "sip", lambda cpu: read_mip(cpu) & cpu.mideleg, _write_sip)
for _level, _base in (("m", 0x300), ("s", 0x100)):
    stored(_base + 0x05, _level + "tvec", ~2)
    stored(_base + 0x40, _level + "scratch")
    stored(_base + 0x41, _level + "epc", ~1)
    stored(_base + 0x42, _level + "cause")
    stored(_base + 0x43, _level + "tval")
    stored(_base + 0x06, _level + "counteren", 7)


def _write_menvcfg(cpu: Cpu, value: Value) -> None:
    cpu.menvcfg = value & MENVCFG
    cpu.host("flush", 0)
    poll_timer(cpu)


declare(0x30A, "menvcfg", lambda cpu: cpu.menvcfg, _write_menvcfg)
rv64.state.constrain("menvcfg", MENVCFG)
stored(0x10A, "senvcfg", SENVCFG)


def _need_sstc(cpu: Cpu) -> None:
    """stimecmp is there below M-mode only if menvcfg.STCE and mcounteren.TM say so (Sstc 2.1)."""
    off = ((cpu.menvcfg & STCE) == 0) | (cpu.mcounteren[1] == 0)
    with when((cpu.priv != MACHINE) & off):
        illegal(cpu)


def _write_stimecmp(cpu: Cpu, value: Value) -> None:
    cpu.stimecmp = value
    poll_timer(cpu)


declare(0x14D, "stimecmp", lambda cpu: cpu.stimecmp, _write_stimecmp, _need_sstc)

# -- translation (II 10.1.11)


def _need_vm(cpu: Cpu) -> None:
    with when((cpu.priv == SUPERVISOR) & ((cpu.mstatus & TVM) != 0)):
        illegal(cpu)


def _write_satp(cpu: Cpu, value: Value) -> None:
    mode = value.lsr(60)
    # A write with an unsupported mode has no effect at all.
    with when((mode == BARE) | (mode == SV39) | (mode == SV48)):
        cpu.satp = value


declare(0x180, "satp", lambda cpu: cpu.satp, _write_satp, _need_vm)
rv64.state.constrain("satp", legal=lambda satp: satp >> 60 in (BARE, SV39, SV48))


# -- counters (I 8.1, II 3.1.10 to 3.1.12, 10.1.5)


def _retired(cpu: Cpu) -> Value:
    return cpu.host("instret", 64)


def _counter(number: int, name: str) -> None:
    """A machine counter of retired instructions, its shadow for lower modes, and its offset."""
    offset = f"m{name}_offset"

    def read(cpu: Cpu) -> Value:
        value: Value = _retired(cpu) + getattr(cpu, offset)
        return value

    def write(cpu: Cpu, value: Value) -> None:
        # The writing instruction itself is not counted.
        setattr(cpu, offset, value - _retired(cpu) - 1)

    declare(0xB00 + number, f"m{name}", read, write)
    declare(0xC00 + number, name, read, check=_enabled(number))


def _enabled(number: int) -> Callable[[Cpu], None]:
    """A counter is for modes that mcounteren, and for U-mode scounteren, lets read it."""

    def check(cpu: Cpu) -> None:
        hidden = (cpu.priv != MACHINE) & (cpu.mcounteren[number] == 0)
        hidden_from_user = (cpu.priv == 0) & (cpu.scounteren[number] == 0)
        with when(hidden | hidden_from_user):
            illegal(cpu)

    return check


_counter(0, "cycle")
_counter(2, "instret")
declare(0xC01, "time", read_ticks, check=_enabled(1))
stored(0x320, "mcountinhibit", 0)
for _n in range(3, 32):
    declare(0xB00 + _n, f"mhpmcounter{_n}", lambda cpu: const(0, 64), lambda cpu, value: None)
    declare(0x320 + _n, f"mhpmevent{_n}", lambda cpu: const(0, 64), lambda cpu, value: None)

# -- identity (II 3.1.2 to 3.1.5) and triggers (Sdtrig: none)

for _number, _name in (
    (0xF11, "mvendorid"), (0xF12, "marchid"), (0xF13, "mimpid"), (0xF15, "mconfigptr"),
):  # fmt: skip
    constant(_number, _name)
declare(0xF14, "mhartid", lambda cpu: cpu.hartid)
for _number, _name in (
    (0x7A0, "tselect"), (0x7A1, "tdata1"), (0x7A2, "tdata2"), (0x7A3, "tdata3"),
):  # fmt: skip
    declare(_number, _name, lambda cpu: const(0, 64), lambda cpu, value: None)


# -- access


@rv64.routine()
def renew(cpu: Cpu) -> None:
    """See `Hooks.renew`."""
    _set_host_rounding(cpu)
    update_fp_ready(cpu)
    update_pmp_active(cpu)
    poll_timer(cpu)


@rv64.routine(returns=8, number=12, write=5)
def csr_check(cpu: Cpu, number: Value, write: Value) -> Value:
    """The rules of CSR addresses: privilege in bits 9:8, read-only if 11:10 are set (II 2.1).
    ``write`` is 0 if nothing is written. Returns 1 for a CSR that is a window, else 0."""
    read_only = number[11:10] == 3
    with when(cpu.priv.ult(number[9:8].zext(8)) | (read_only & (write != 0))):
        illegal(cpu)
    windows = const(0, 1)
    for each in WINDOWS:
        windows = windows | (number == each)
    return windows.zext(8)


@rv64.routine(returns=64, number=12)
def csr_read(cpu: Cpu, number: Value) -> Value:
    """The value of a CSR; illegal-instruction if there is none of that number."""
    for csr in CSRS.values():
        with when(number == csr.number):
            if csr.check is not None:
                csr.check(cpu)
            ret(csr.read(cpu))
    illegal(cpu)
    return const(0, 64)


def csr_modified(cpu: Cpu, number: Value, old: Value) -> Value:
    """The value that csrrs and csrrc modify and write back: ``old``, the value read, but for mip
    only the bits that software wrote; otherwise a line that is high would stay pending (II 3.1.9).
    """
    return select(number == MIP, cpu.mip_soft | cpu.line[1].zext(64) << 1, old)


@rv64.routine(number=12, value=64)
def csr_write(cpu: Cpu, number: Value, value: Value) -> None:
    """Write a CSR; illegal-instruction if there is none of that number."""
    for csr in CSRS.values():
        with when(number == csr.number):
            if csr.check is not None:
                csr.check(cpu)
            if csr.write is not None:
                csr.write(cpu, value)
            ret()
    illegal(cpu)
