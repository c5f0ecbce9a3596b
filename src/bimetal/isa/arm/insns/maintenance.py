"""System instructions (C4.1.93.7): barriers, and maintenance of caches."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.value import Value, const, select
from ...contract import LOAD, STORE
from ...trace import Cpu, slowly, when
from ..access_syndromes import CM, S1PTW, WRITE
from ..accesses import check_zeroed
from ..debug import watch_invalidation
from ..hosts import ruling_control
from ..mmu import FAULT, LOOK, NO_PAN, ON_WALK, STAGE_2, STATUS, walk
from ..registers.identity import DZE, TDZ, ZERO_BLOCK
from ..state import a64, monitor
from ..syndromes import (
    DATA_ABORT,
    EL0,
    EL1,
    EL2,
    TO_EL2,
    refused,
    syndrome,
    trapped_by_hypervisor,
    undefined,
)  # fmt: skip
from ..tables import PERMISSION

# SCTLR_EL1.UCI: EL0 may maintain caches; EnRCTX: EL0 may restrict predictions. The bits of HCR_EL2
# trap maintenance.
UCI, ENRCTX = 1 << 26, 1 << 10
Act = Callable[[Cpu, Value], None]
TSW, TPC, TPU, TTLB = 1 << 22, 1 << 23, 1 << 24, 1 << 25
# Traps of some of them only (EVT): those for a domain, and cache maintenance to the point of
# unification.
TICAB, TOCU, OF_DOMAIN = 1 << 50, 1 << 52, {"": 0, "is": 1 << 54, "os": 1 << 55}

FB = 1 << 9  # EL1's maintenance of this processor is that of all in its domain


TRANSLATIONS, CODE, CODE_OF_OTHERS = 1, 2, 4
"""What a barrier has to complete, a bit each: a TLB shootdown by other vCPUs; a flush of code here;
a flush of code by the others."""


# The types of barriers in CRm: for loads before them, or for stores (C6.2.99, C6.2.101).
_TYPE, _OF_LOADS, _OF_STORES = 3, 1, 2


def _barrier(cpu: Cpu, full: Value) -> None:
    """One that is not ``full`` lets later loads pass earlier stores."""
    with when(full) as fully:
        cpu.fence()
        with fully.otherwise():
            cpu.fence(full=False)


@a64.insn("1101010100 0 00 011 0011 CRm:4 101 11111", "dmb {CRm:ix}")
def dmb(cpu: Cpu, CRm: Value) -> None:
    """Orders loads before all later accesses, stores before later stores, or all before all."""
    kind = CRm & _TYPE
    _barrier(cpu, (kind != _OF_LOADS) & (kind != _OF_STORES))


@a64.insn("1101010100 0 00 011 0011 CRm:4 100 11111", "dsb {CRm:ix}")
def dsb(cpu: Cpu, CRm: Value) -> None:
    """Nothing after it, not even a load, is executed before those accesses are complete."""
    _barrier(cpu, (CRm & _TYPE) != _OF_LOADS)
    _complete(cpu)


def _without_xs(name: str, domain: int) -> None:
    """A DSB that need not wait for accesses with the attribute XS, of which none ever waits."""

    @a64.insn(
        f"1101010100 0 00 011 0011 {domain:02b} 10 001 11111", f"dsb {name}nxs", extension="xs"
    )
    def meaning(cpu: Cpu) -> None:
        cpu.fence()
        _complete(cpu)


for _domain, _name in enumerate(("osh", "nsh", "ish", "sy")):
    _without_xs(_name, _domain)


def _complete(cpu: Cpu) -> None:
    """Complete the maintenance that was requested before a DSB (B2.3.12)."""
    with slowly(cpu.owed != 0):
        _pay(cpu)


def _pay(cpu: Cpu) -> None:
    owed = cpu.owed
    cpu.owed = const(0, 8)
    with when((owed & CODE) != 0):
        cpu.host("fence_code", 0)
    with when((owed & CODE_OF_OTHERS) != 0), when(cpu.host("shared", 1) == 1):
        cpu.host("tell_code", 0)
    with when((owed & (TRANSLATIONS | CODE_OF_OTHERS)) != 0), when(cpu.host("heard", 1) == 0):
        cpu.leave("shoot down")
    cpu.sync()


@a64.insn("1101010100 0 00 011 0011 CRm:4 110 11111", "isb {CRm:ix}")
def isb(cpu: Cpu, CRm: Value) -> None:
    cpu.sync()


@a64.insn("1101010100 0 00 011 0011 0000 111 11111", "sb", extension="sb")
def sb(cpu: Cpu) -> None:
    """Nothing is executed speculatively."""


@a64.insn("1101010100 0 00 011 0011 CRm:4 010 11111", "clrex {CRm:ix}")
def clrex(cpu: Cpu, CRm: Value) -> None:
    monitor.clear(cpu)


def system_instruction(
    text: str,
    place: tuple[int, int, int, int],
    operand: bool = True,
    *,
    el0: int = 0,
    trapped: int = 0,
    extension: str = "",
) -> Callable[[Act], Act]:
    """Describe an alias of SYS: ``place`` is op1, CRn, CRm and op2, ``el0`` the bit of SCTLR that
    allows it at EL0, ``trapped`` the bits of HCR_EL2 that trap it to EL2."""
    op1, crn, crm, op2 = place
    rt = "Rt:5" if operand else "11111"
    iss = 1 << 20 | op2 << 17 | op1 << 14 | crn << 10 | crm << 1

    def register(act: Act) -> Act:
        @a64.insn(
            f"1101010100 0 01 {op1:03b} {crn:04b} {crm:04b} {op2:03b} {rt}",
            text + (", {Rt:x}" if operand else ""),
            name=text.replace(" ", "_"),
            extension=extension,
        )
        def meaning(cpu: Cpu, **fields: Value) -> None:
            number = fields.get("Rt", const(31, 5))
            full = const(iss, 64) | number.zext(64) << 5
            if op1 == 3:
                if el0:
                    with slowly((cpu.el == EL0) & ((ruling_control(cpu) & el0) == 0)):
                        refused(cpu, full)
            else:
                with slowly((cpu.el != EL2) if op1 == 4 else (cpu.el == EL0)):
                    undefined(cpu)
            if trapped:
                trapped_by_hypervisor(cpu, trapped, full)
            act(cpu, cpu.x[number])

        return act

    return register


def broadcasts(cpu: Cpu) -> Value:
    """Whether a hypervisor has what EL1 invalidates here invalidated by all vCPUs: its guest's may
    have been executed by another one before (HCR_EL2.FB)."""
    forced: Value = (cpu.el == EL1) & ((cpu.hcr & FB) != 0)
    return forced


# -- caches: there are none to clean; instruction fetches see earlier stores after IC and DSB


def _nothing(cpu: Cpu, value: Value) -> None:
    """Data caches are not modelled."""


@a64.routine(address=64, access=8)
def probe(cpu: Cpu, address: Value, access: Value) -> None:
    """The faults of a data cache instruction by address (D7.5.9): nothing is accessed, no flags are
    set, and PSTATE.PAN does not matter. Only what may destroy data, a store, needs permissions; of
    others EL0 needs that of a load."""
    found = walk(cpu, address, access | LOOK | NO_PAN, cpu.el)
    forbidden = (found & (FAULT | ON_WALK | 0x3C << STATUS)) == FAULT | PERMISSION << STATUS
    asked = (access == STORE) | (cpu.el == EL0)
    with when(((found & FAULT) != 0) & (~forbidden | asked)):
        walks = select((found & ON_WALK) != 0, const(S1PTW, 64), 0)
        to = select((found & STAGE_2) != 0, const(TO_EL2, 64), 0)
        status = found.lsr(STATUS) & 0x3F
        cpu.trap(syndrome(DATA_ABORT, WRITE | CM) | walks | to | status, address)
    with when((access == STORE) & (cpu.debugging != 0)):
        watch_invalidation(cpu, address)


def _cleans(cpu: Cpu, address: Value) -> None:
    probe(cpu, address, const(LOAD, 8))


def _destroys(cpu: Cpu, address: Value) -> None:
    probe(cpu, address, const(STORE, 8))


def _owes(what: int) -> Act:
    def act(cpu: Cpu, value: Value) -> None:
        cpu.owed = cpu.owed | what

    return act


system_instruction("dc ivac", (0, 7, 6, 1), trapped=TPC)(_destroys)
for _name, _crm in (("dc isw", 6), ("dc csw", 10), ("dc cisw", 14)):
    system_instruction(_name, (0, 7, _crm, 2), trapped=TSW)(_nothing)
for _name, _crm, _trap, _extension in (
    ("dc cvac", 10, TPC, ""), ("dc cvau", 11, TPU | TOCU, ""), ("dc cvap", 12, TPC, "dpb"),
    ("dc cvadp", 13, TPC, "dpb2"), ("dc civac", 14, TPC, ""),
):  # fmt: skip
    _place = (3, 7, _crm, 1)
    system_instruction(_name, _place, el0=UCI, trapped=_trap, extension=_extension)(_cleans)


@system_instruction("dc zva", (3, 7, 4, 1), el0=DZE, trapped=TDZ)
def dc_zva(cpu: Cpu, address: Value) -> None:
    """Clear a block by eight bytes; it is in one page, so a fault comes before all stores, and with
    the address as it was given (D17.2.40)."""
    cpu.store(address, const(0, 8))
    check_zeroed(cpu, address)
    start = address & ~(ZERO_BLOCK - 1)
    for at in range(0, ZERO_BLOCK, 8):
        cpu.store(start + at, const(0, 64))


# There are no predictions that another context could have trained.
for _name, _op2 in (("cfp", 4), ("dvp", 5), ("cpp", 7)):
    system_instruction(f"{_name} rctx", (3, 7, 3, _op2), el0=ENRCTX, extension="specres")(_nothing)


@system_instruction("ic ivau", (3, 7, 5, 1), el0=UCI, trapped=TPU | TOCU)
def _invalidates_line(cpu: Cpu, value: Value) -> None:
    """Done at once as far as this processor goes, so that a barrier does not make it look at all
    code: kernels patch themselves, and compilers write code, line by line."""
    with when(cpu.host("fence_line", 1, value) == 0):
        cpu.owed = cpu.owed | CODE
    with when(cpu.host("shared", 1) == 1):
        cpu.owed = cpu.owed | CODE_OF_OTHERS


_EVERYWHERE = CODE | CODE_OF_OTHERS
system_instruction("ic ialluis", (0, 7, 1, 0), False, trapped=TPU | TICAB)(_owes(_EVERYWHERE))


@system_instruction("ic iallu", (0, 7, 5, 0), False, trapped=TPU | TOCU)
def _invalidates_code(cpu: Cpu, value: Value) -> None:
    others = select(broadcasts(cpu), const(CODE_OF_OTHERS, 8), 0)
    cpu.owed = cpu.owed | CODE | others
