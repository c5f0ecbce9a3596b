"""Address translation and protection: Sv39 and Sv48 (volume II, 10.3 to 10.5).

Choices that the manual leaves open: accessed and dirty bits are set by hardware if menvcfg.ADUE is
set (Svadu) and fault otherwise (Svade); Svpbmt is not implemented; ASIDs have 16 bits; the G bit of
non-leaf entries is ignored, so pages below them are not global because of it.
"""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..contract import FETCH, GLOBAL, HUGE, LARGE, LOAD, READ_OK, STORE, WRITE_OK
from ..trace import Cpu, ret, when
from .pmp import pmp_allows
from .state import rv64
from .traps import (
    FETCH_ACCESS,
    FETCH_PAGE,
    LOAD_ACCESS,
    LOAD_MISALIGNED,
    LOAD_PAGE,
    MACHINE,
    MPP,
    STORE_ACCESS,
    STORE_MISALIGNED,
    STORE_PAGE,
    SUPERVISOR,
    USER,
)  # fmt: skip

__all__ = [
    "ADUE", "BARE", "MPRV", "MXR", "SUM", "SV39", "SV48", "of_asid", "translate",
]  # fmt: skip

MPRV, SUM, MXR = 1 << 17, 1 << 18, 1 << 19
ADUE = 1 << 61
V, R, W, X, U, G, A, D = (1 << n for n in range(8))
BARE, SV39, SV48 = 0, 8, 9
# 62:54 are reserved without Svpbmt; a leaf that sets one faults (II 10.4.1).
RESERVED = 0x1FF << 54
# A leaf of the last level with N set maps 64 KiB; its low four bits of PPN are 1000 (II 11.1).
N = 1 << 63
PPN_BITS = 44

# U, S, S with SUM, M; and from there on M with MPRV, by the mode whose rights loads and stores
# have.
CONTEXT_USER, CONTEXT_SUPERVISOR, CONTEXT_SUM, CONTEXT_MACHINE, CONTEXT_MPRV = range(5)

# Address spaces are satp as it is. With this bit, which is zero in all of its modes, a number
# stands for what all spaces of a mode share.
SHARED = 1 << 61
ASID, ASID_BITS = 44, 16


@rv64.routine(returns=8)
def context(cpu: Cpu) -> Value:
    """See `Hooks.context`. Every trap and return comes here: each register is read once."""
    status, priv = cpu.mstatus, cpu.priv
    supervisor = status[18].zext(8) + CONTEXT_SUPERVISOR  # SUM
    lent = select((status & MPP) == 0, const(CONTEXT_USER, 8), supervisor) + CONTEXT_MPRV
    # Loads and stores of M-mode have the rights of another one (II 3.1.6.3).
    modified = ((status & MPRV) != 0) & ((status & MPP) != MPP)
    machine = select(modified, lent, CONTEXT_MACHINE)
    lower = select(priv == USER, const(CONTEXT_USER, 8), supervisor)
    return select(priv == MACHINE, machine, lower)


@rv64.routine(returns=8, current=8)
def user_context(cpu: Cpu, current: Value) -> Value:
    """See `Hooks.user_context`."""
    return current


@rv64.routine(returns=64)
def address_space(cpu: Cpu) -> Value:
    """See `Hooks.address_space`."""
    satp: Value = cpu.satp
    return satp


@rv64.routine(returns=64)
def global_space(cpu: Cpu) -> Value:
    """See `Hooks.global_space`. What M-mode sees is the same in all spaces too."""
    shared: Value = cpu.satp.lsr(60) << 60 | SHARED
    return shared


def of_asid(asid: Value) -> tuple[Value, Value]:
    """Mask and match of the address spaces with an ASID."""
    mask = SHARED | ((1 << ASID_BITS) - 1) << ASID
    return const(mask, 64), (asid & (1 << ASID_BITS) - 1) << ASID


def _by_access(access: Value, load: int, store: int, fetch: int) -> Value:
    return select(access == LOAD, const(load, 64), select(access == STORE, const(store, 64), fetch))


@rv64.routine(access=8, va=64)
def page_fault(cpu: Cpu, access: Value, va: Value) -> None:
    """Raise the page fault of this kind of access."""
    cpu.trap(_by_access(access, LOAD_PAGE, STORE_PAGE, FETCH_PAGE), va)


@rv64.routine(access=8, va=64)
def access_fault(cpu: Cpu, access: Value, va: Value) -> None:
    """Raise the access fault of this kind of access."""
    cpu.trap(_by_access(access, LOAD_ACCESS, STORE_ACCESS, FETCH_ACCESS), va)


@rv64.routine(returns=64, pa=64, va=64, access=8, priv=8, permissions=64)
def protect(
    cpu: Cpu, pa: Value, va: Value, access: Value, priv: Value, permissions: Value
) -> Value:
    """Combine the page's ``permissions`` with PMP; raise an access fault or return the result."""
    pmp = pmp_allows(cpu, pa, priv)
    with when(pmp.lsr(access)[0] == 0):
        access_fault(cpu, access, va)
    return (pa & ~0xFFF) | (permissions & (pmp.zext(64) & 3 | GLOBAL | LARGE | HUGE))


def _effective_priv(cpu: Cpu, access: Value) -> Value:
    """MPRV makes loads and stores behave as in MPP's mode (II 3.1.6.3)."""
    modified = (cpu.mstatus & MPRV) != 0
    previous = (cpu.mstatus.lsr(11) & 3).trunc(8)
    return select(modified & (access != FETCH), previous, cpu.priv)


def _leaf_allows(cpu: Cpu, pte: Value, access: Value, priv: Value) -> Value:
    """Whether a leaf PTE permits the access (II 10.3.2, steps 6 to 8), accessed and dirty aside."""
    status = cpu.mstatus
    readable = ((pte & R) != 0) | (((status & MXR) != 0) & ((pte & X) != 0))
    fits = select(access == LOAD, readable, select(access == STORE, (pte & W) != 0, (pte & X) != 0))
    of_user = (pte & U) != 0
    sum_on = ((status & SUM) != 0) & (access != FETCH)
    return fits & select(priv == USER, of_user, ~of_user | sum_on)


def _leaf(
    cpu: Cpu, level: int, slot: Value, pte: Value, va: Value, access: Value, priv: Value
) -> None:
    """Return the translation by a leaf at ``level``, updating its A and D bits."""
    offset_bits = 12 + 9 * level
    ppn = pte.lsr(10) & ((1 << PPN_BITS) - 1)
    misaligned = (ppn & ((1 << 9 * level) - 1)) != 0
    several = (pte & N) != 0
    if level:
        misaligned = misaligned | several
    else:
        misaligned = several & ((ppn & 15) != 8)
        ppn = select(several, ppn & ~15 | va.lsr(12) & 15, ppn)
    with when(misaligned | ~_leaf_allows(cpu, pte, access, priv)):
        page_fault(cpu, access, va)
    wanted = pte | A | select(access == STORE, const(D, 64), 0)
    with when(wanted != pte):
        with when((cpu.menvcfg & ADUE) == 0):
            page_fault(cpu, access, va)
        with when(cpu.host("is_ram", 1, slot) == 0):
            access_fault(cpu, access, va)
        old = cpu.cas_physical(slot, pte, wanted)
        with when(old != pte):
            ret(translate(cpu, va, access))  # another hart changed it: walk again
    low = (1 << offset_bits) - 1
    pa = (ppn << 12) & ~low | va & low
    writable = (wanted & (W | D)) == W | D
    permissions = select(writable, const(READ_OK | WRITE_OK, 64), READ_OK)
    size = LARGE | HUGE if level == 3 else LARGE
    large = const(size, 64) if level else select(several, const(LARGE, 64), 0)
    everywhere = select((pte & G) != 0, const(GLOBAL, 64), 0)
    ret(protect(cpu, pa, va, access, priv, permissions | large | everywhere))


@rv64.routine(returns=64, va=64, access=8)
def translate(cpu: Cpu, va: Value, access: Value) -> Value:
    """See `Hooks.translate`."""
    priv = _effective_priv(cpu, access)
    mode = cpu.satp.lsr(60)
    with when((priv == MACHINE) | (mode == BARE)):
        everywhere = select(priv == MACHINE, const(GLOBAL, 64), 0)
        ret(protect(cpu, va, va, access, priv, everywhere | READ_OK | WRITE_OK))
    top_level = select(mode == SV48, const(3, 8), 2)
    sign_bits = select(mode == SV48, va.asr(47), va.asr(38))
    with when((sign_bits != 0) & (sign_bits != -1)):
        page_fault(cpu, access, va)
    table = cpu.local((cpu.satp & ((1 << PPN_BITS) - 1)) << 12)
    for level in (3, 2, 1, 0):
        with when(top_level.uge(level)):
            slot = table.value + (va.lsr(12 + 9 * level) & 0x1FF) * 8
            allowed = pmp_allows(cpu, slot, const(SUPERVISOR, 8)) & 1
            with when((allowed == 0) | (cpu.host("is_memory", 1, slot) == 0)):
                access_fault(cpu, access, va)
            pte = cpu.load_physical(slot, 64)
            valid = ((pte & V) != 0) & ((pte & (R | W)) != W) & ((pte & RESERVED) == 0)
            with when(~valid):
                page_fault(cpu, access, va)
            with when((pte & (R | X)) != 0):
                _leaf(cpu, level, slot, pte, va, access, priv)
            with when((pte & (A | D | U | N)) != 0):
                page_fault(cpu, access, va)  # reserved in a pointer (II 10.3.1)
            table.set(pte.lsr(10) << 12)
    page_fault(cpu, access, va)
    return const(0, 64)


@rv64.routine(access=8, va=64)
def misaligned(cpu: Cpu, access: Value, va: Value) -> None:
    """Raise the address-misaligned exception: only atomics do (I 14.4); the rest is split."""
    cpu.trap(_by_access(access, LOAD_MISALIGNED, STORE_MISALIGNED, 0), va)
