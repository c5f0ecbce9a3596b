"""Control of translation, exceptions and threads (D17.2), at EL1 and EL2."""

from __future__ import annotations

from ....ir.value import Value, const, select
from ...trace import Cpu, slowly, when
from ..accesses import update_strict
from ..exceptions import is_asked
from ..fp_access import update_fp_ready
from ..hosts import ruling_control
from ..mmu import FAULT, WXN, M
from ..pauth import update_pauth
from ..state import FIQ, IRQ, VFIQ, VIRQ, a64
from ..syndromes import (
    AMO,
    EL0,
    EL1,
    EL2,
    FMO,
    IMO,
    SYSTEM,
    VF,
    VI,
    VSE,
    refused,
    trap_to_el2,
    undefined,
)  # fmt: skip
from ..sysregs import banked, constant, stored, system_register
from ..tables import at_least

__all__ = ["UMA", "select_stack"]

# HCR_EL2: traps of the registers of translation (writes, reads), and of ACTLR_EL1.
TVM, TRVM = 1 << 26, 1 << 30
TRANSLATION = TVM | TRVM
TACR = 1 << 21
TCPAC = 1 << 31  # of CPTR_EL2: the trap of CPACR_EL1


def _flush(cpu: Cpu, changed: Value) -> None:
    """Cached translations depend on the register."""
    with when(changed != 0):
        cpu.host("flush", 0)
    cpu.sync()


def _control(cpu: Cpu, changed: Value) -> None:
    """The bits of SCTLR that they, and accesses, depend on."""
    update_strict(cpu)
    _flush(cpu, changed & (M | WXN))
    update_pauth(cpu)


def _sizes(cpu: Cpu, changed: Value) -> None:
    """They depend on all of TCR, and so does where codes of pointers stand."""
    _flush(cpu, changed)
    update_pauth(cpu)


SCTLR = (3, 0, 1, 0, 0)
banked("sctlr", SCTLR, written=_control, trapped=TRANSLATION)
banked("actlr", (3, 0, 1, 0, 1), 0, el12=False, trapped=TACR)
# A change of these is complete at the next ISB, exception or return (D8.2.3), and not before: a
# change of ASID and tables takes several writes.
banked("ttbr0", (3, 0, 2, 0, 0), trapped=TRANSLATION)
banked("ttbr1", (3, 0, 2, 0, 1), trapped=TRANSLATION)
banked("tcr", (3, 0, 2, 0, 2), written=_sizes, trapped=TRANSLATION)
banked("afsr0", (3, 0, 5, 1, 0), 0, trapped=TRANSLATION)
banked("afsr1", (3, 0, 5, 1, 1), 0, trapped=TRANSLATION)
banked("esr", (3, 0, 5, 2, 0), (1 << 37) - 1, trapped=TRANSLATION)
banked("far", (3, 0, 6, 0, 0), trapped=TRANSLATION)
banked("mair", (3, 0, 10, 2, 0), trapped=TRANSLATION)
banked("amair", (3, 0, 10, 3, 0), 0, trapped=TRANSLATION)
banked("vbar", (3, 0, 12, 0, 0), ~0x7FF)
banked("contextidr", (3, 0, 13, 0, 1), 0xFFFF_FFFF, trapped=TRANSLATION)
banked("spsr", (3, 0, 4, 0, 0), 0xFFFF_FFFF)
banked("elr", (3, 0, 4, 0, 1))


def _cpacr_of_guest(cpu: Cpu, writes: bool, iss: Value) -> None:
    with slowly((cpu.el != EL2) & ((cpu.cptr & TCPAC) != 0)):
        trap_to_el2(cpu, SYSTEM, iss)


def _write_cpacr(cpu: Cpu, value: Value) -> None:
    host = (cpu.el == EL2) & ((cpu.hcr & 1 << 34) != 0)
    cpu.cptr = select(host, value, cpu.cptr)
    cpu.cpacr = select(host, cpu.cpacr, value & (3 << 20))
    update_fp_ready(cpu)


def _read_cpacr(cpu: Cpu) -> Value:
    host = (cpu.el == EL2) & ((cpu.hcr & 1 << 34) != 0)
    return select(host, cpu.cptr, cpu.cpacr)


def _write_cpacr_el12(cpu: Cpu, value: Value) -> None:
    cpu.cpacr = value & (3 << 20)
    update_fp_ready(cpu)


system_register("cpacr_el1", (3, 0, 1, 0, 2), _read_cpacr, _write_cpacr, check=_cpacr_of_guest)
system_register(
    "cpacr_el12", (3, 5, 1, 0, 2), lambda cpu: cpu.cpacr, _write_cpacr_el12, extension="vhe"
)


# -- threads


def _tpidr(name: str, op1: int, op2: int, level: int) -> None:
    def write(cpu: Cpu, value: Value) -> None:
        cpu.tpidr_el[level] = value

    system_register(name, (3, op1, 13, 0, op2), lambda cpu: cpu.tpidr_el[level], write)


_tpidr("tpidr_el0", 3, 2, 0)
_tpidr("tpidr_el1", 0, 4, 1)
_tpidr("tpidr_el2", 4, 2, 2)


def _read_only_below_el1(cpu: Cpu, writes: bool, iss: Value) -> None:
    if writes:
        with slowly(cpu.el == EL0):
            undefined(cpu)


def _write_tpidrro(cpu: Cpu, value: Value) -> None:
    cpu.tpidrro = value


system_register(
    "tpidrro_el0", (3, 3, 13, 0, 3), lambda cpu: cpu.tpidrro, _write_tpidrro,
    check=_read_only_below_el1,
)  # fmt: skip

# -- stack pointers of other levels (C5.2)


def _sp(name: str, op1: int, level: int) -> None:
    def undefined_with_it(cpu: Cpu, writes: bool, iss: Value) -> None:
        if level == 0:  # the one in use has no other name
            with slowly(cpu.spsel == 0):
                undefined(cpu)

    def write(cpu: Cpu, value: Value) -> None:
        cpu.sp_el[level] = value

    system_register(
        name, (3, op1, 4, 1, 0), lambda cpu: cpu.sp_el[level], write, check=undefined_with_it,
        shown=False,
    )  # fmt: skip


def _show_sp(level: int) -> None:
    """From outside, the one in use is found under both of its names."""

    def in_use(cpu: Cpu) -> Value:
        value: Value = cpu.spsel == 0 if level == 0 else (cpu.spsel == 1) & (cpu.el == level)
        return value

    def read(cpu: Cpu) -> Value:
        return select(in_use(cpu), cpu.sp, cpu.sp_el[level])

    def write(cpu: Cpu, value: Value) -> None:
        cpu.sp_el[level] = value
        cpu.sp = select(in_use(cpu), value, cpu.sp)

    a64.view(f"sp_el{level}", 64, read, write)


_sp("sp_el0", 0, 0)
_sp("sp_el1", 4, 1)
for _level in range(3):
    _show_sp(_level)

# -- addresses

stored("par_el1", (3, 0, 7, 4, 0), at="par")
assert FAULT == 1  # as in PAR_EL1.F

# -- EL2's own


# Bits of HCR_EL2 that are there with EVT: TID4, TICAB, TOCU, TTLBIS, TTLBOS.
OF_EVT = 1 << 49 | 1 << 50 | 1 << 52 | 1 << 54 | 1 << 55


def _write_hcr(cpu: Cpu, value: Value) -> None:
    value = select(at_least(cpu, "EVT", 2), value, value & ~OF_EVT)
    cpu.hcr = value | 1 << 31  # RW: EL1 is AArch64
    update_fp_ready(cpu)
    update_pauth(cpu)
    cpu.sync()


def _write_cptr(cpu: Cpu, value: Value) -> None:
    cpu.cptr = value
    update_fp_ready(cpu)


system_register("hcr_el2", (3, 4, 1, 1, 0), lambda cpu: cpu.hcr, _write_hcr)
system_register("cptr_el2", (3, 4, 1, 1, 2), lambda cpu: cpu.cptr, _write_cptr)
# MSCEn and MCE2: who executes CPY and SET, and who hears of their mismatch. FnXS, FGTnXS: no access
# of XS is waited for in any case.
stored("hcrx_el2", (3, 4, 1, 2, 2), 3 << 10 | 3 << 3, at="hcrx", extension="hcx")
stored("hstr_el2", (3, 4, 1, 1, 3), 0, at="hstr")
stored("hacr_el2", (3, 4, 1, 1, 7), 0, at="hacr")
stored("vpidr_el2", (3, 4, 0, 0, 0), 0xFFFF_FFFF, at="vpidr")
stored("vmpidr_el2", (3, 4, 0, 0, 5), at="vmpidr")
stored("hpfar_el2", (3, 4, 6, 0, 4), at="hpfar")


def _write_vtcr(cpu: Cpu, value: Value) -> None:
    changed = cpu.vtcr ^ value
    cpu.vtcr = value
    _flush(cpu, changed)


stored("vttbr_el2", (3, 4, 2, 1, 0), at="vttbr")
system_register("vtcr_el2", (3, 4, 2, 1, 2), lambda cpu: cpu.vtcr, _write_vtcr)

# -- PSTATE (C5.2)


def _field(name: str, encoding: tuple[int, int, int, int, int], at: str, bit: int) -> None:
    def write(cpu: Cpu, value: Value) -> None:
        setattr(cpu, at, value[bit].zext(8))
        cpu.sync()

    system_register(
        name, encoding, lambda cpu: getattr(cpu, at).zext(64) << bit, write, extension=name
    )


_field("pan", (3, 0, 4, 2, 3), "pan", 22)
_field("uao", (3, 0, 4, 2, 4), "uao", 23)
_field("dit", (3, 3, 4, 2, 5), "dit", 24)
_field("ssbs", (3, 3, 4, 2, 6), "ssbs", 12)

UMA = 1 << 9  # of SCTLR_EL1


def _daif_at_el0(cpu: Cpu, writes: bool, iss: Value) -> None:
    with slowly((cpu.el == EL0) & ((ruling_control(cpu) & UMA) == 0)):
        refused(cpu, iss)


def _write_daif(cpu: Cpu, value: Value) -> None:
    cpu.daif = (value.lsr(6) & 15).trunc(8)
    cpu.sync()


system_register(
    "daif", (3, 3, 4, 2, 1), lambda cpu: cpu.daif.zext(64) << 6, _write_daif, check=_daif_at_el0
)
system_register("currentel", (3, 0, 4, 2, 2), lambda cpu: cpu.el.zext(64) << 2)


def select_stack(cpu: Cpu, spsel: Value) -> None:
    """SPSel: use the stack pointer of EL0 or that of the level."""
    with slowly(cpu.spsel != spsel):
        cpu.sp_el[select(cpu.spsel == 0, const(0, 8), cpu.el).trunc(2)] = cpu.sp
        cpu.spsel = spsel
        cpu.sp = cpu.sp_el[select(spsel == 0, const(0, 8), cpu.el).trunc(2)]


def _write_spsel(cpu: Cpu, value: Value) -> None:
    select_stack(cpu, (value & 1).trunc(8))


system_register("spsel", (3, 0, 4, 2, 0), lambda cpu: cpu.spsel.zext(64), _write_spsel)


def _isr(cpu: Cpu) -> Value:
    """What is pending; EL1 sees virtual interrupts, where EL2 has the physical ones."""
    guest = cpu.el == EL1
    value: Value = ((cpu.hcr & (AMO | VSE)) == AMO | VSE).zext(64) << 8
    value = select(guest, value, const(0, 64))
    for line, virtual, bit, route, place in ((IRQ, VIRQ, VI, IMO, 7), (FIQ, VFIQ, VF, FMO, 6)):
        theirs = guest & ((cpu.hcr & route) != 0)
        pending = select(theirs, is_asked(cpu, virtual, bit), cpu.line[line] != 0)
        value = value | pending.zext(64) << place
    return value


system_register("isr_el1", (3, 0, 12, 1, 0), _isr)


def _without_el2(cpu: Cpu, writes: bool, iss: Value) -> None:
    """There is one for the highest exception level alone (D17.2.117)."""
    with slowly(cpu.el2_there == 1):
        undefined(cpu)


constant("rvbar_el1", (3, 0, 12, 0, 1), 0, check=_without_el2)
constant("rvbar_el2", (3, 4, 12, 0, 1), 0)
