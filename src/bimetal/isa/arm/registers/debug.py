"""Registers of self-hosted debug (D17.3): what matches, the OS lock, who has them.

There is no debugger outside: its channel is empty and takes whatever is written to it.
"""

from __future__ import annotations

from ....ir.value import Value, const
from ...trace import Cpu, slowly
from ..debug import KDE, MDE, SS, TDCC, TDE, renew_debug
from ..features import BREAKPOINTS, WATCHPOINTS
from ..syndromes import EL0, EL2, SYSTEM, TGE, refused, trap_to_el2
from ..sysregs import Check, Encoding, system_register

__all__: list[str] = []

TDA, TDOSA, TDRA = 1 << 9, 1 << 10, 1 << 11  # of MDCR_EL2
# HMC, SSC, LBN, BT, PMC and E; BAS is all ones where there is no AArch32.
BREAKPOINT_BITS, BYTES = 0xF0_0000 | 0xF_0000 | 0xE000 | 7, 15 << 5
WATCHPOINT_BITS = 0x1F1F_FFFF  # MASK, WT, LBN, SSC, HMC, BAS, LSC, PAC, E
LOCK_IMPLEMENTED = 8  # OSLSR_EL1.OSLM


def trapped_by(bit: int) -> Check:
    """The trap of a group of registers to EL2, which TDE and TGE ask for too."""

    def check(cpu: Cpu, writes: bool, iss: Value) -> None:
        asked = ((cpu.mdcr & (bit | TDE)) != 0) | ((cpu.hcr & TGE) != 0)
        with slowly((cpu.el != EL2) & (cpu.el2_there == 1) & asked):
            trap_to_el2(cpu, SYSTEM, iss)

    return check


def _channel(cpu: Cpu, writes: bool, iss: Value) -> None:
    """The registers of the channel that EL0 has, if MDSCR_EL1.TDCC lets it."""
    with slowly((cpu.el == EL0) & ((cpu.mdscr & TDCC) != 0)):
        refused(cpu, iss)
    trapped_by(TDA)(cpu, writes, iss)


def _ignored(name: str, encoding: Encoding, check: Check, value: int = 0) -> None:
    """A register whose writes have no effect."""
    system_register(name, encoding, lambda cpu: const(value, 64), lambda cpu, new: None,
                    check=check)  # fmt: skip


def _kept(name: str, encoding: Encoding, at: str, mask: int, check: Check) -> None:
    """A register that debug exceptions depend on."""

    def write(cpu: Cpu, value: Value) -> None:
        kept = value & mask
        setattr(cpu, at, kept.trunc(getattr(cpu, at).width))
        renew_debug(cpu)
        cpu.sync()

    system_register(name, encoding, lambda cpu: getattr(cpu, at).zext(64), write, check=check)


def _numbered(name: str, number: int, op2: int, keep: int, ones: int = 0) -> None:
    """One of the breakpoints' or watchpoints' registers."""

    def read(cpu: Cpu) -> Value:
        value: Value = getattr(cpu, name)[number]
        return value | ones

    def write(cpu: Cpu, value: Value) -> None:
        getattr(cpu, name)[number] = value & keep
        with slowly((cpu.mdscr & MDE) != 0):
            renew_debug(cpu)
        cpu.sync()

    system_register(
        f"{name}{number}_el1", (2, 0, 0, number, op2), read, write, check=trapped_by(TDA)
    )


for _n in range(BREAKPOINTS):
    _numbered("dbgbvr", _n, 4, -1)
    _numbered("dbgbcr", _n, 5, BREAKPOINT_BITS, BYTES)
for _n in range(WATCHPOINTS):
    _numbered("dbgwvr", _n, 6, ~3)
    _numbered("dbgwcr", _n, 7, WATCHPOINT_BITS)
_kept("mdscr_el1", (2, 0, 0, 2, 2), "mdscr", SS | TDCC | KDE | MDE, trapped_by(TDA))
_kept("osdlr_el1", (2, 0, 1, 3, 4), "osdlr", 1, trapped_by(TDOSA))
_kept("dbgprcr_el1", (2, 0, 1, 4, 4), "dbgprcr", 1, trapped_by(TDOSA))
# Counters may belong to EL2 and have other filters behind it.
_kept("mdcr_el2", (3, 4, 1, 1, 1), "mdcr", 0xFFF, lambda cpu, writes, iss: None)


def _write_lock(cpu: Cpu, value: Value) -> None:
    cpu.oslock = (value & 1).trunc(8)
    renew_debug(cpu)
    cpu.sync()


system_register("oslar_el1", (2, 0, 1, 0, 4), None, _write_lock, check=trapped_by(TDOSA))
system_register(
    "oslsr_el1", (2, 0, 1, 1, 4), lambda cpu: cpu.oslock.zext(64) << 1 | LOCK_IMPLEMENTED,
    check=trapped_by(TDOSA),
)  # fmt: skip


def _write_claim(name: str) -> None:
    """Tags by which debuggers agree who has the registers: set by one, cleared by the other."""
    sets = name == "dbgclaimset_el1"

    def write(cpu: Cpu, value: Value) -> None:
        bits = (value & 0xFF).trunc(8)
        cpu.claimed = cpu.claimed | bits if sets else cpu.claimed & ~bits

    def read(cpu: Cpu) -> Value:
        return const(0xFF, 64) if sets else cpu.claimed.zext(64)

    system_register(name, (2, 0, 7, 8 if sets else 9, 6), read, write, check=trapped_by(TDA))


_write_claim("dbgclaimset_el1")
_write_claim("dbgclaimclr_el1")
system_register("dbgauthstatus_el1", (2, 0, 7, 14, 6), lambda cpu: const(0, 64),
                check=trapped_by(TDA))  # fmt: skip
system_register("mdrar_el1", (2, 0, 1, 0, 0), lambda cpu: const(0, 64), check=trapped_by(TDRA))
system_register("mdccsr_el0", (2, 3, 0, 1, 0), lambda cpu: const(0, 64), check=_channel)
_ignored("dbgdtr_el0", (2, 3, 0, 4, 0), _channel)
_ignored("dbgdtrrx_el0", (2, 3, 0, 5, 0), _channel)
for _name, _crm, _op2 in (
    ("osdtrrx_el1", 0, 2), ("mdccint_el1", 2, 0), ("osdtrtx_el1", 3, 2), ("oseccr_el1", 6, 2),
):  # fmt: skip
    _ignored(_name, (2, 0, 0, _crm, _op2), trapped_by(TDA))
