"""Address translation (D8): both stages, three granules, hardware management of flags.

`walk` finds what an address stands for, or why it stands for nothing, in the format of PAR_EL1: so
it serves accesses, which trap, and the AT instructions, which do not. What the manual leaves open:
output addresses have 48 bits, or as many as TCR_ELx and the model say; contiguous hints are
ignored.
"""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..contract import FETCH, GLOBAL, LARGE, LOAD, STORE
from ..trace import Cpu, ret, when
from .features import IDENTIFICATION, PHYSICAL_BITS
from .spaces import DC, VM, hosted
from .state import a64
from .syndromes import (
    E2H,
    EL0,
    EL1,
    EL2,
    TGE,
)  # fmt: skip

__all__ = ["ATTRIBUTES", "FAULT", "ON_WALK", "STAGE_2", "STATUS", "WXN", "M", "walk"]

# Of what `walk` returns: besides `GLOBAL` and `LARGE`, as in PAR_EL1 (C5.3), F, PTW and S.
FAULT, ON_WALK, STAGE_2 = 1, 1 << 8, 1 << 9
AGAIN = 1 << 10
STATUS, ATTRIBUTES, SHAREABILITY = 1, 4, 7  # where these fields stand
# Fault status codes (D17.2.37), of which all but the last have the level added.
ADDRESS_SIZE, TRANSLATION, ACCESS_FLAG, PERMISSION = 0, 4, 8, 12
EXTERNAL_ON_WALK = 0x14

# SCTLR_ELx.
M, WXN, EPAN = 1 << 0, 1 << 19, 1 << 57
# Descriptors (D8.3).
VALID, TABLE = 1, 2
AP1, AP2, AF, NG = 1 << 6, 1 << 7, 1 << 10, 1 << 11
DBM, PXN, UXN = 1 << 51, 1 << 53, 1 << 54
ADDRESS = (1 << 48) - 1
MEMORY_MODEL = list(IDENTIFICATION).index("id_aa64mmfr0_el1")
LEVELS = range(4)

# -- faults


@a64.routine(returns=64, code=64, level=64, more=64)
def failed(cpu: Cpu, code: Value, level: Value, more: Value) -> Value:
    """What `walk` returns for a fault at a level."""
    return (code + level) << STATUS | FAULT | more


def _fails(cpu: Cpu, code: int, level: int | Value, more: Value | int = 0) -> None:
    """Return a fault from the routine being traced."""
    ret(
        failed(
            cpu,
            const(code, 64),
            const(level, 64) if isinstance(level, int) else level,
            const(more, 64) if isinstance(more, int) else more,
        )
    )


# -- what both stages share


def _grain(code: Value, sixteen: int, sixty_four: int) -> Value:
    """log2 of the granule by TG0 or TG1, whose codes differ (D17.2.131)."""
    large = select(code == sixty_four, const(16, 64), 12)
    return select(code == sixteen, const(14, 64), large)


def _first_level(grain: Value, bits: Value) -> Value:
    """Where a walk over ``bits`` of an address begins: the tables below it cover them all."""
    wide = bits - grain
    stride = grain - 3
    covered = const(3, 64)
    for more in (1, 2, 3):
        covered = covered - (stride * more).ult(wide).zext(64)
    return covered


def _index(address: Value, grain: Value, bits: Value, level: int) -> tuple[Value, Value]:
    """The offset of a descriptor in its table, and log2 of what it maps."""
    shift = grain + (grain - 3) * (3 - level)
    inside = address & ((const(1, 64) << (bits & 63)) - 1)
    mask = (const(1, 64) << (grain - 3)) - 1
    return (inside.lsr(shift) & mask) << 3, shift


def _leaf(descriptor: Value, level: int, grain: Value) -> tuple[Value, Value]:
    """Whether a valid descriptor is a leaf, and whether it may be one at this level (D8.3.1)."""
    table = (descriptor & TABLE) != 0
    if level == 3:
        return const(1, 1), table  # without the bit it is reserved
    allowed = {0: const(0, 1), 1: grain == 12, 2: const(1, 1)}[level]
    return ~table, allowed


def _large(level: int, grain: Value) -> Value:
    """The mark of a leaf that maps more than 4 KiB."""
    return const(LARGE, 64) if level < 3 else select(grain == 12, const(0, 64), LARGE)


def _output(descriptor: Value, address: Value, shift: Value) -> Value:
    """The output address of a leaf."""
    low = (const(1, 64) << shift) - 1
    return (descriptor & ADDRESS & ~low) | (address & low)


# -- stage 2 (D8.2.9, D8.4.2)


@a64.routine(returns=64, ipa=64, access=8, walking=8)
def stage_2(cpu: Cpu, ipa: Value, access: Value, walking: Value) -> Value:
    """The physical page of an intermediate address, or a fault; ``walking`` for a descriptor of
    stage 1."""
    with when((cpu.hcr & (VM | DC)) == 0):
        ret(ipa & ~0xFFF)
    cpu.fault_ipa = ipa
    more = select(walking == 1, const(STAGE_2 | ON_WALK, 64), STAGE_2)
    control = cpu.vtcr
    grain = _grain(control.lsr(14) & 3, 2, 1)
    bits = 64 - (control & 0x3F)
    with when((ipa & ~((const(1, 64) << (bits & 63)) - 1)) != 0):
        _fails(cpu, TRANSLATION, 0, more)
    start = control.lsr(6) & 3
    # SL0 counts from level 2 with 4 KiB granules, from level 3 with larger ones (D17.2.162).
    first = select(grain == 12, 2 - start, 3 - start)
    table = cpu.local(cpu.vttbr & ADDRESS & ~1)
    for level in LEVELS:
        with when(const(level, 64).uge(first)):
            _stage_2_level(cpu, ipa, access, (table, grain, bits, first, more), level)
    return const(FAULT, 64)


def _stage_2_level(
    cpu: Cpu, ipa: Value, access: Value, walk: tuple[object, Value, Value, Value, Value], level: int
) -> None:
    table, grain, bits, first, more = walk
    shift = grain + (grain - 3) * (3 - level)
    # The first table may be several that follow one another, so its index is not masked.
    mask = select(first == level, const(-1, 64), (const(1, 64) << (grain - 3)) - 1)
    inside = ipa & ((const(1, 64) << (bits & 63)) - 1)
    slot = table.value + ((inside.lsr(shift) & mask) << 3)  # type: ignore[attr-defined]
    with when(cpu.host("is_memory", 1, slot) == 0):
        ret(const(EXTERNAL_ON_WALK + level << STATUS | FAULT, 64) | more)
    descriptor = cpu.load_physical(slot, 64)
    with when((descriptor & VALID) == 0):
        _fails(cpu, TRANSLATION, level, more)
    leaf, allowed = _leaf(descriptor, level, grain)
    with when(leaf):
        with when(~allowed):
            _fails(cpu, TRANSLATION, level, more)
        readable, writable = (descriptor & AP1) != 0, (descriptor & AP2) != 0
        store, fetch = access[0] == STORE, (access & FETCH) != 0
        never = (descriptor & UXN) != 0
        fits = select(fetch, readable & ~never, select(store, writable, readable))
        with when((descriptor & AF) == 0):
            with when((cpu.vtcr & 1 << 21) == 0):
                _fails(cpu, ACCESS_FLAG, level, more)
            with when(cpu.host("is_ram", 1, slot) == 0):
                ret(const(EXTERNAL_ON_WALK + level << STATUS | FAULT, 64) | more)
            cpu.cas_physical(slot, descriptor, descriptor | AF)
        with when(~fits):
            _fails(cpu, PERMISSION, level, more)
        ret((_output(descriptor, ipa, shift) & ~0xFFF) | _large(level, grain))
    table.set(descriptor & ADDRESS & ~0xFFF)  # type: ignore[attr-defined]


# -- stage 1 (D8.2.8, D8.4.1)


class _Regime:
    """The registers of a translation regime: EL1&0, EL2, or EL2&0."""

    def __init__(self, cpu: Cpu, at: Value, va: Value):
        self.at, self.cpu = at.trunc(2), cpu
        self.host = (at == EL2) & ((cpu.hcr & E2H) != 0)
        self.two = (at == EL1) | self.host  # it has two ranges
        self.high = self.two & (va[55] == 1)
        control = cpu.tcr_el[self.at]
        self.control = control
        low_size, high_size = control & 0x3F, control.lsr(16) & 0x3F
        self.bits = 64 - select(self.high, high_size, low_size)
        low_grain = _grain(control.lsr(14) & 3, 2, 1)
        high_grain = _grain(control.lsr(30) & 3, 1, 3)
        self.grain = select(self.high, high_grain, low_grain)
        self.table = select(self.high, cpu.ttbr1_el[self.at], cpu.ttbr0_el[self.at])

    def flag(self, low: int, high: int, single: int) -> Value:
        """A flag of TCR: for the low and the high range, and where it is if there is only one."""
        of_range = select(self.high, self.control.lsr(high), self.control.lsr(low))
        return select(self.two, of_range, self.control.lsr(single))[0] == 1


@a64.routine(returns=64, va=64, access=8, el=8)
def walk(cpu: Cpu, va: Value, access: Value, el: Value) -> Value:
    """The physical page of ``va`` for an access with the rights of ``el``, in the format of
    PAR_EL1: with its attributes, or a fault."""
    host_el0 = (el == EL0) & hosted(cpu)
    at = select(host_el0 | (el == EL2), const(EL2, 8), EL1)
    regime = _Regime(cpu, at, va)
    off = (cpu.sctlr_el[regime.at] & M) == 0
    replaced = (at == EL1) & ((cpu.hcr & (DC | TGE)) != 0)
    with when(off | replaced):
        with when(va.lsr(48) != 0):
            _fails(cpu, ADDRESS_SIZE, 0)
        with when(at == EL1):
            ret(stage_2(cpu, va, access, const(0, 8)))
        ret(va & ~0xFFF)
    _check_range(cpu, regime, va)
    with when(too_high(cpu, regime.table & ADDRESS, at) == 1):
        _fails(cpu, ADDRESS_SIZE, 0)
    first = _first_level(regime.grain, regime.bits)
    table = cpu.local(regime.table & ADDRESS & ~1)
    limits = cpu.local(const(0, 64))  # what tables take away: APTable, UXNTable, PXNTable
    for level in LEVELS:
        with when(const(level, 64).uge(first)):
            slot, shift = _index(va, regime.grain, regime.bits, level)
            found = fetch_descriptor(cpu, table.value + slot, at, const(level, 64))
            with when((found & VALID) == 0):
                ret(found.lsr(1))  # a fault
            leaf, allowed = _leaf(found, level, regime.grain)
            with when(leaf):
                with when(~allowed):
                    _fails(cpu, TRANSLATION, level)
                where = stage_1_leaf(
                    cpu, va, access, el, cpu.walk_slot, found, limits.value, const(level, 64)
                )
                with when(where == AGAIN):
                    ret(walk(cpu, va, access, el))
                with when((where & FAULT) != 0):
                    ret(where)
                page = _output(found, va, shift) & ~0xFFF
                local = regime.two & ((found & NG) != 0)
                marks = _large(level, regime.grain) | select(local, const(0, 64), GLOBAL)
                with when(at == EL1):
                    inner = stage_2(cpu, page | va & 0xFFF, access, const(0, 8))
                    with when((inner & FAULT) != 0):
                        ret(inner)
                    ret(inner & ~0xFF0 | where | marks)
                ret(page | where | marks)
            limits.set(limits.value | found)
            table.set(found & ADDRESS & ~0xFFF)
    return const(FAULT, 64)


def _check_range(cpu: Cpu, regime: _Regime, va: Value) -> None:
    """A translation fault at level 0 for addresses in no range, and where walks are disabled."""
    top = select(regime.flag(37, 38, 20), (va << 8).asr(8), va)
    above = top.asr(regime.bits & 63)
    outside = select(regime.high, above != -1, above != 0)
    disabled = select(regime.high, regime.control.lsr(23), regime.control.lsr(7))[0] == 1
    with when(outside | regime.two & disabled):
        _fails(cpu, TRANSLATION, 0)


@a64.routine(returns=1, address=64, at=8)
def too_high(cpu: Cpu, address: Value, at: Value) -> Value:
    """Whether an output address has more bits than TCR_ELx says, or than the model has."""
    host = (at == EL2) & ((cpu.hcr & E2H) != 0)
    control = cpu.tcr_el[at.trunc(2)]
    asked = select((at == EL1) | host, control.lsr(32), control.lsr(16)) & 7
    ours = cpu.identity[MEMORY_MODEL] & 15
    size = select(asked.ult(ours), asked, ours)
    bits = const(PHYSICAL_BITS[-1], 64)
    for code, width in enumerate(PHYSICAL_BITS[:-1]):
        bits = select(size == code, const(width, 64), bits)
    return address.lsr(bits) != 0


@a64.routine(returns=64, slot=64, at=8, level=64)
def fetch_descriptor(cpu: Cpu, slot: Value, at: Value, level: Value) -> Value:
    """A descriptor of stage 1 through stage 2, valid ones as they are; its physical address is
    left in ``walk_slot``. For others a fault, shifted by one."""
    place = cpu.local(slot)
    with when(at == EL1):
        inner = stage_2(cpu, slot, const(LOAD, 8), const(1, 8))
        with when((inner & FAULT) != 0):
            ret(inner << 1)
        place.set((inner & ~0xFFF) | slot & 0xFFF)
    with when(cpu.host("is_memory", 1, place.value) == 0):
        ret(failed(cpu, const(EXTERNAL_ON_WALK, 64), level, const(0, 64)) << 1)
    cpu.walk_slot = place.value
    descriptor = cpu.load_physical(place.value, 64)
    with when((descriptor & VALID) == 0):
        ret(failed(cpu, const(TRANSLATION, 64), level, const(0, 64)) << 1)
    with when(too_high(cpu, descriptor & ADDRESS, at) == 1):
        ret(failed(cpu, const(ADDRESS_SIZE, 64), level, const(0, 64)) << 1)
    return descriptor


@a64.routine(returns=64, va=64, access=8, el=8, slot=64, descriptor=64, limits=64, level=64)
def stage_1_leaf(
    cpu: Cpu, va: Value, access: Value, el: Value, slot: Value, descriptor: Value, limits: Value,
    level: Value,
) -> Value:  # fmt: skip
    """Access flag and permissions of a leaf: its attributes, or a fault."""
    host_el0 = (el == EL0) & hosted(cpu)
    at = select(host_el0 | (el == EL2), const(EL2, 8), EL1)
    regime = _Regime(cpu, at, va)
    sets_access, sets_dirty = (
        select(regime.two, regime.control.lsr(two), regime.control.lsr(one))[0] == 1
        for two, one in ((39, 21), (40, 22))
    )
    wanted = cpu.local(descriptor)
    with when((descriptor & AF) == 0):
        with when(~sets_access):
            _fails(cpu, ACCESS_FLAG, level)
        wanted.set(wanted.value | AF)
    store, fetch = access[0] == STORE, (access & FETCH) != 0
    dirties = store & sets_dirty & ((descriptor & DBM) != 0)
    with when(dirties):
        wanted.set(wanted.value & ~AP2)
    # Tables take rights away (D8.4.2), unless TCR says that they do not.
    hierarchy = select(regime.flag(41, 42, 24), const(0, 64), limits)
    read_only = ((wanted.value & AP2) != 0) | ((hierarchy & 1 << 62) != 0)
    for_user = ((descriptor & AP1) != 0) & ((hierarchy & 1 << 61) == 0) & regime.two
    never_user = ((descriptor & UXN) != 0) | ((hierarchy & 1 << 60) != 0)
    never_kernel = ((descriptor & PXN) != 0) | ((hierarchy & 1 << 59) != 0)
    user = el == EL0
    hidden = cpu.pan.trunc(1) & regime.two & for_user & ~fetch & ~user
    kernel_never = select(regime.two, never_kernel | for_user & ~read_only, never_user)
    never = select(user, never_user, kernel_never)
    never = never | ((cpu.sctlr_el[regime.at] & WXN) != 0) & ~read_only & (for_user | ~user)
    fits = select(fetch, ~never, ~store | ~read_only) & (for_user | ~user) & ~hidden
    with when(~fits):
        _fails(cpu, PERMISSION, level)
    with when(wanted.value != descriptor):
        with when(cpu.host("is_ram", 1, slot) == 0):
            _fails(cpu, EXTERNAL_ON_WALK, level)
        old = cpu.cas_physical(slot, descriptor, wanted.value)
        with when(old != descriptor):
            ret(const(AGAIN, 64))  # another vCPU changed it
    attributes = (descriptor.lsr(2) & 7) << ATTRIBUTES
    return attributes | (descriptor.lsr(8) & 3) << SHAREABILITY
