"""Paging (volume 3, chapter 4): none, 32-bit, PAE, 4 and 5 levels."""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..contract import FETCH, GLOBAL, HUGE, LARGE, READ_OK, STORE, UNPRIVILEGED, WRITE_OK
from ..trace import Cpu, ret, when
from .canonical import non_canonical
from .control import (
    LA57,
    LMA,
    NXE,
    PAE,
    PCIDE,
    PG,
    PGE,
    PSE,
    SMAP,
    SMEP,
    WP,
)  # fmt: skip
from .cpuid import has
from .flags import AC
from .models import PHYSICAL_BITS
from .state import x86
from .system_access import SYSTEM
from .traps import PAGE_FAULT, PROTECTION, UNCANONICAL, fault, general_protection

__all__: list[str] = []

PRESENT, WRITABLE, USER, ACCESSED, DIRTY = 1, 2, 4, 1 << 5, 1 << 6
LARGE_PAGE, GLOBAL_PAGE, NO_EXECUTE = 1 << 7, 1 << 8, 1 << 63
ADDRESS = ((1 << 52) - 1) & ~0xFFF
RESERVED = ((1 << 52) - 1) & ~((1 << PHYSICAL_BITS) - 1)
IN_4G = 0xFFFF_FFFF
# Bits of a page fault's error code.
BY_PROTECTION, BY_WRITE, BY_USER, BY_RESERVED, BY_FETCH = 1, 2, 4, 8, 16


@x86.routine(va=64, access=8, code=64)
def page_fault(cpu: Cpu, va: Value, access: Value, code: Value) -> None:
    """#PF; ``code`` says whether rights or reserved bits are the reason."""
    kind = access & 3
    code = code | select(kind == STORE, const(BY_WRITE, 64), 0)
    code = code | select(is_user(cpu, access), const(BY_USER, 64), 0)
    guarded = ((cpu.efer & NXE) != 0) | ((cpu.cr4 & SMEP) != 0)
    code = code | select((kind == FETCH) & guarded, const(BY_FETCH, 64), 0)
    fault(cpu, PAGE_FAULT, code, va)


def is_user(cpu: Cpu, access: Value) -> Value:
    """Whether an access is one of a user's."""
    as_user = (access & UNPRIVILEGED) != 0
    user: Value = ((cpu.cpl == 3) & ((access & SYSTEM) == 0)) | as_user
    return user


@x86.routine(returns=64, va=64, access=8)
def translate(cpu: Cpu, va: Value, access: Value) -> Value:
    """The page of a linear address, or a fault. What is no address at all is #GP or #SS."""
    with when((cpu.cr0 & PG) == 0):
        ret((va & ~0xFFF) | READ_OK | WRITE_OK)
    with when((cpu.cr4 & PAE) == 0):
        ret(walk_32(cpu, va, access))
    with when((cpu.efer & LMA) == 0):
        ret(walk_pae(cpu, va, access))
    with when(non_canonical(cpu, va)):
        with when(((access & SYSTEM) == 0) & ((access & 3) != FETCH)):
            fault(cpu, PROTECTION, value=va, more=UNCANONICAL)
        general_protection(cpu)
    return walk_long(cpu, va, access)


@x86.routine(returns=64, va=64, access=8)
def walk_32(cpu: Cpu, va: Value, access: Value) -> Value:
    """Two levels of entries of 32 bits (4.3); pages of 4 MiB with PSE-36."""
    at = (cpu.cr3 & IN_4G & ~0xFFF) + (va.lsr(22) & 0x3FF) * 4
    entry = cpu.load_physical(at, 32)
    with when((entry & PRESENT) == 0):
        page_fault(cpu, va, access, 0)
    with when(((entry & LARGE_PAGE) != 0) & ((cpu.cr4 & PSE) != 0)):
        with when((entry & 0x003E_0000 & ~0x1E000) != 0):
            page_fault(cpu, va, access, BY_PROTECTION | BY_RESERVED)
        rights = entry.zext(64) & (WRITABLE | USER)
        base = (entry.zext(64) & 0xFFC0_0000) | (entry.zext(64).lsr(13) & 0xFF) << 32
        check_rights(cpu, va, access, rights)
        mark_32(cpu, at, access)
        ret(base | (va & 0x3F_F000) | found(cpu, access, rights, entry.zext(64), at) | LARGE)
    mark_table_32(cpu, at)
    place = (entry.zext(64) & 0xFFFF_F000) + (va.lsr(12) & 0x3FF) * 4
    leaf = cpu.load_physical(place, 32)
    with when((leaf & PRESENT) == 0):
        page_fault(cpu, va, access, 0)
    rights = (entry & leaf).zext(64) & (WRITABLE | USER)
    check_rights(cpu, va, access, rights)
    mark_32(cpu, place, access)
    return (leaf.zext(64) & 0xFFFF_F000) | found(cpu, access, rights, leaf.zext(64), place)


@x86.routine(returns=64, va=64, access=8)
def walk_pae(cpu: Cpu, va: Value, access: Value) -> Value:
    """Three levels of entries of 64 bits; the first has four, which were loaded with CR3 (4.4)."""
    top = cpu.pdpte[(va.lsr(30) & 3).trunc(2)]
    with when((top & PRESENT) == 0):
        page_fault(cpu, va, access, 0)
    rights = const(WRITABLE | USER, 64)
    return walk_down(cpu, va, access, top & ADDRESS, 1, rights)


@x86.routine(returns=64, va=64, access=8)
def walk_long(cpu: Cpu, va: Value, access: Value) -> Value:
    """Four or five levels (4.5)."""
    first = select((cpu.cr4 & LA57) != 0, const(4, 64), 3)
    return walk_down(cpu, va, access, cpu.cr3 & ADDRESS, first, const(WRITABLE | USER, 64))


@x86.routine(returns=64, va=64, access=8, table=64, first=64, rights=64)
def walk_down(
    cpu: Cpu, va: Value, access: Value, table: Value, first: Value, rights: Value
) -> Value:
    """From a table of level ``first``, 4 to 0, down to a page. ``rights`` are those that all levels
    give; the bit of no execution is there if one says so."""
    here, given = cpu.local(table), cpu.local(rights)
    no_execute = (cpu.efer & NXE) != 0
    forbidden = select(no_execute, const(RESERVED, 64), const(RESERVED | NO_EXECUTE, 64))
    for level in (4, 3, 2, 1, 0):
        with when(~first.ult(level)):
            at = here.value + (va.lsr(12 + 9 * level) & 0x1FF) * 8
            entry = cpu.load_physical(at, 64)
            with when((entry & PRESENT) == 0):
                page_fault(cpu, va, access, 0)
            large = (entry & LARGE_PAGE) != 0
            wrong = (entry & forbidden) != 0
            if level in (1, 2):
                size = 12 + 9 * level
                inside = ((1 << size) - 1) & ~0x1FFF
                wrong = wrong | (large & ((entry & inside) != 0))
                if level == 2:
                    wrong = wrong | (large & ~has(cpu, "pdpe1gb"))
            elif level > 2:
                wrong = wrong | large
            with when(wrong):
                page_fault(cpu, va, access, BY_PROTECTION | BY_RESERVED)
            both = given.value & entry & (WRITABLE | USER)
            given.set(both | ((given.value | entry) & NO_EXECUTE))
            if level == 0:
                _leaf(cpu, va, access, at, entry, given.value, 12)
            elif level in (1, 2):
                with when(large):
                    _leaf(cpu, va, access, at, entry, given.value, 12 + 9 * level)
            if level:
                mark(cpu, at, entry, ACCESSED)
                here.set(entry & ADDRESS)
    return const(0, 64)


def _leaf(
    cpu: Cpu, va: Value, access: Value, at: Value, entry: Value, rights: Value, size: int
) -> None:
    """Return the page of an entry, after a look at the rights."""
    check_rights(cpu, va, access, rights)
    is_store = (access & 3) == STORE
    mark(cpu, at, entry, select(is_store, const(ACCESSED | DIRTY, 64), ACCESSED))
    inside = ((1 << size) - 1) & ~0xFFF
    page = (entry & ADDRESS & ~inside) | (va & inside)
    flags = {12: 0, 21: LARGE, 30: LARGE, 39: LARGE | HUGE}[size]
    dirty = entry | select(is_store, const(DIRTY, 64), 0)
    ret(page | _permissions(cpu, rights, dirty) | flags)


def _permissions(cpu: Cpu, rights: Value, entry: Value) -> Value:
    """What a TLB may keep of a translation: writable ones only once they are dirty."""
    user = cpu.cpl == 3
    protected = user | ((cpu.cr0 & WP) != 0)
    writable = ((rights & WRITABLE) != 0) | ~protected
    ok = select(writable & ((entry & DIRTY) != 0), const(READ_OK | WRITE_OK, 64), READ_OK)
    is_global = ((entry & GLOBAL_PAGE) != 0) & ((cpu.cr4 & PGE) != 0)
    return ok | select(is_global, const(GLOBAL, 64), 0)


@x86.routine(va=64, access=8, rights=64)
def check_rights(cpu: Cpu, va: Value, access: Value, rights: Value) -> None:
    """#PF if an access is not allowed (4.6)."""
    kind, user = access & 3, is_user(cpu, access)
    users, writable = (rights & USER) != 0, (rights & WRITABLE) != 0
    never = (kind == FETCH) & ((rights & NO_EXECUTE) != 0)
    as_user = user & (~users | ((kind == STORE) & ~writable))
    protected = (cpu.cr0 & WP) != 0
    smep = (kind == FETCH) & users & ((cpu.cr4 & SMEP) != 0)
    allowed = ((cpu.system_flags & AC) != 0) & ((access & SYSTEM) == 0)
    smap = (kind != FETCH) & users & ((cpu.cr4 & SMAP) != 0) & ~allowed
    as_supervisor = ~user & (((kind == STORE) & ~writable & protected) | smep | smap)
    with when(never | as_user | as_supervisor):
        page_fault(cpu, va, access, BY_PROTECTION)


@x86.routine(at=64, entry=64, bits=64)
def mark(cpu: Cpu, at: Value, entry: Value, bits: Value) -> None:
    """Set the bits of accesses in an entry of 64 bits, if it still is what it was."""
    with when((entry & bits) != bits):
        cpu.cas_physical(at, entry, entry | bits)


@x86.routine(at=64)
def mark_table_32(cpu: Cpu, at: Value) -> None:
    """Set the bit of accesses in an entry of 32 bits that refers to a table."""
    entry = cpu.load_physical(at, 32)
    with when((entry & ACCESSED) == 0):
        cpu.cas_physical(at, entry, entry | ACCESSED)


@x86.routine(at=64, access=8)
def mark_32(cpu: Cpu, at: Value, access: Value) -> None:
    """Set the bits of accesses in an entry of 32 bits that refers to a page."""
    entry = cpu.load_physical(at, 32)
    bits = select((access & 3) == STORE, const(ACCESSED | DIRTY, 32), ACCESSED)
    with when((entry & bits) != bits):
        cpu.cas_physical(at, entry, entry | bits)


def found(cpu: Cpu, access: Value, rights: Value, entry: Value, at: Value) -> Value:
    """The permissions of a page of 32-bit paging."""
    dirty = entry | select((access & 3) == STORE, const(DIRTY, 64), 0)
    return _permissions(cpu, rights, dirty)


# -- what translations depend on


@x86.routine(returns=8)
def decode_mode(cpu: Cpu) -> Value:
    """As CS and the other segments say, see `modes`."""
    number: Value = cpu.decoding
    return number


@x86.routine(returns=8)
def context(cpu: Cpu) -> Value:
    """The decode mode, and whether accesses are those of a user, or of a supervisor who may look at
    users' pages (RFLAGS.AC while SMAP is on)."""
    may = ((cpu.cr4 & SMAP) == 0) | ((cpu.system_flags & AC) != 0)
    level = select(cpu.cpl == 3, const(4, 8), select(may, const(0, 8), 8))
    number: Value = cpu.decoding | level
    return number


@x86.routine(returns=8, current=8)
def user_context(cpu: Cpu, current: Value) -> Value:
    """No instruction accesses memory with the rights of a user."""
    return current


PAGED = 1 << 63


@x86.routine(returns=64)
def address_space(cpu: Cpu) -> Value:
    """With PCIDs, their number; a write of CR3 that flushes says so."""
    pcid = (cpu.cr4 & PCIDE) != 0
    number = select(pcid, cpu.cr3 & 0xFFF, cpu.cr3 & ADDRESS)
    space: Value = select((cpu.cr0 & PG) != 0, number | PAGED, 0)
    return space


@x86.routine(returns=64)
def global_space(cpu: Cpu) -> Value:
    """One for all of them."""
    space: Value = select((cpu.cr0 & PG) != 0, const(PAGED | 1 << 62, 64), 1)
    return space
