"""Stage 1 of translation (D8.2.8, D8.4.1), and both in a row; hardware management of flags.

`walk` returns a translation or a fault in the format of PAR_EL1, so it serves accesses, which trap,
and the AT instructions, which do not. Where the manual leaves a choice: sizes of ranges that the
model does not have are translation faults; contiguous hints are ignored; AT sets no flags in
tables.
"""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..contract import FETCH, GLOBAL, GUARDED, LOAD, STORE
from ..trace import Cpu, ret, when
from .hosts import ruled_by_el2, ruling_level
from .spaces import DC
from .stage_2 import AGAIN, stage_2
from .state import a64
from .syndromes import E2H, EL0, EL1, EL2, TGE
from .tables import (
    ACCESS_FLAG,
    ADDRESS_SIZE,
    AF,
    AP1,
    AP2,
    DBM,
    EXTERNAL_ON_WALK,
    FAULT,
    GP,
    LEVELS,
    LOOK,
    NG,
    NO_PAN,
    ON_WALK,
    ONE_STAGE,
    PERMISSION,
    PXN,
    STAGE_2,
    STATUS,
    TRANSLATION,
    UXN,
    VALID,
    Sizes,
    at_least,
    failed,
    fails,
    first_level,
    grain_of,
    is_leaf,
    may_be_leaf,
    model_bits,
    of_page,
    output_bits,
    pointed_to,
    root_of,
    size_of_leaf,
)  # fmt: skip
from .tags import TAG, tagged

__all__ = [
    "ATTRIBUTES", "EPAN", "FAULT", "LOOK", "NO_PAN", "ONE_STAGE", "ON_WALK", "SHAREABILITY",
    "STAGE_2", "STATUS", "WXN", "M", "walk",
]  # fmt: skip

ATTRIBUTES, SHAREABILITY = 4, 7  # where these stand in what `walk` returns

# SCTLR_ELx.
M, WXN, EPAN = 1 << 0, 1 << 19, 1 << 57


class _Regime(Sizes):
    """The registers of a translation regime: EL1&0, EL2, or EL2&0."""

    def __init__(self, cpu: Cpu, at: Value, va: Value):
        self.at, self.cpu = at.trunc(2), cpu
        self.host = (at == EL2) & ((cpu.hcr & E2H) != 0)
        self.two = (at == EL1) | self.host  # it has two ranges
        self.high = self.two & (va[55] == 1)
        self.control = control = cpu.tcr_el[self.at]
        low_grain = grain_of(cpu, control.lsr(14) & 3, 2, 1)
        high_grain = grain_of(cpu, control.lsr(30) & 3, 1, 3)
        size = select(self.high, control.lsr(16), control) & 0x3F
        asked = select(self.two, control.lsr(32), control.lsr(16)) & 7
        grain = select(self.high, high_grain, low_grain)
        super().__init__(cpu, grain, size, asked, self.one_flag(59, 32))
        self.table = select(self.high, cpu.ttbr1_el[self.at], cpu.ttbr0_el[self.at])

    def flag(self, low: int, high: int, single: int) -> Value:
        """A flag of TCR: for the low and the high range, and where it is if there is only one."""
        of_range = select(self.high, self.control.lsr(high), self.control.lsr(low))
        return select(self.two, of_range, self.control.lsr(single))[0] == 1

    def one_flag(self, two: int, single: int) -> Value:
        """A flag of TCR for both ranges alike."""
        return select(self.two, self.control.lsr(two), self.control.lsr(single))[0] == 1

    def tagged(self, fetches: Value) -> Value:
        """Whether addresses have a tag, see `tags.tagged`."""
        return tagged(self.cpu, self.flag, fetches)


@a64.routine(returns=64, va=64, access=8, el=8)
def walk(cpu: Cpu, va: Value, access: Value, el: Value) -> Value:
    """The physical page of ``va`` for an access with the rights of ``el``, in the format of
    PAR_EL1: with its attributes, or a fault. With `ONE_STAGE` the intermediate page."""
    at = ruling_level(cpu, el).zext(8)
    regime = _Regime(cpu, at, va)
    off = (cpu.sctlr_el[regime.at] & M) == 0
    replaced = (at == EL1) & ((cpu.hcr & (DC | TGE)) != 0)
    with when(off | replaced):
        ret(untranslated(cpu, va, access, el, at))
    _check_range(cpu, regime, va, access, el)
    first, limit = first_level(regime), output_bits(regime)
    root = root_of(regime.table & ~1, regime, first)
    with when(root.lsr(limit) != 0):
        fails(cpu, ADDRESS_SIZE, 0)
    table = cpu.local(root)
    limits = cpu.local(const(0, 64))  # what tables take away: APTable, UXNTable, PXNTable
    for level in LEVELS:
        with when(const(level, 64).sge(first)):
            shift = regime.grain + (regime.grain - 3) * (3 - level)
            slot = table.value + _index(va, regime, shift)
            found = fetch_descriptor(cpu, slot, access & LOOK, at, const(level, 64))
            with when((found & VALID) == 0):
                ret(found.lsr(1))  # a fault
            leaf = is_leaf(found, level)
            with when(leaf & ~may_be_leaf(cpu, found, level, regime)):
                fails(cpu, TRANSLATION, level)
            target = pointed_to(cpu, found, regime.grain, regime.form)
            with when(target.lsr(limit) != 0):
                fails(cpu, ADDRESS_SIZE, level)
            with when(leaf):
                where = stage_1_leaf(cpu, va, access, el, slot, found, limits.value,
                                     const(level, 64))  # fmt: skip
                with when(where == AGAIN):
                    ret(walk(cpu, va, access, el))
                with when((where & FAULT) != 0):
                    ret(where)
                page = of_page(cpu, found, va, shift, regime)
                local = regime.two & ((found & NG) != 0)
                marks = where | select(local, const(0, 64), GLOBAL)
                marks = marks | size_of_leaf(level, regime.grain)
                ret(through_stage_2(cpu, page, va, access, el, marks))
            limits.set(limits.value | found)
            table.set(target)
    return const(FAULT, 64)


@a64.routine(returns=64, va=64, access=8, el=8, at=8)
def untranslated(cpu: Cpu, va: Value, access: Value, el: Value, at: Value) -> Value:
    """The translation of an address while stage 1 is off."""
    regime = _Regime(cpu, at, va)
    plain = select(regime.tagged((access & FETCH) != 0), va & ~TAG, va)
    with when(plain.lsr(model_bits(cpu)) != 0):
        fails(cpu, ADDRESS_SIZE, 0)
    return through_stage_2(cpu, plain & ~0xFFF, va, access, el, const(0, 64))


@a64.routine(returns=64, page=64, va=64, access=8, el=8, marks=64)
def through_stage_2(
    cpu: Cpu, page: Value, va: Value, access: Value, el: Value, marks: Value
) -> Value:
    """The translation of a page by stage 2, if that is on and wanted."""
    with when(ruled_by_el2(cpu, el) | ((access & ONE_STAGE) != 0)):
        ret(page | marks)
    inner = stage_2(cpu, page | va & 0xFFF, access, el, const(0, 8))
    return select((inner & FAULT) != 0, inner, inner | marks)


def _index(va: Value, regime: _Regime, shift: Value) -> Value:
    """The offset of a descriptor in its table."""
    inside = va & ((const(1, 64) << (regime.bits & 63)) - 1)
    mask = (const(1, 64) << (regime.grain - 3)) - 1
    offset: Value = (inside.lsr(shift & 63) & mask) << 3
    return offset


@a64.routine(returns=64, pc=64)
def jump_address(cpu: Cpu, pc: Value) -> Value:
    """See `Hooks.jump_address`: BranchAddr, by which a jump extends the address below a tag."""
    top = pc.asr(55)
    with when((top == 0) | (top == -1)):
        ret(pc)
    regime = _Regime(cpu, ruling_level(cpu, cpu.el).zext(8), pc)
    with when(regime.tagged(const(1, 1)) == 0):
        ret(pc)
    return select(regime.high, pc | TAG, pc & ~TAG)


def _check_range(cpu: Cpu, regime: _Regime, va: Value, access: Value, el: Value) -> None:
    """Return a translation fault at level 0 for addresses in no range, and where walks are
    disabled."""
    top = select(regime.tagged((access & FETCH) != 0), (va << 8).asr(8), va)
    above = top.asr(regime.bits & 63)
    nowhere = select(regime.high, above != -1, above != 0)
    disabled = select(regime.high, regime.control.lsr(23), regime.control.lsr(7))[0] == 1
    kept = (el == EL0) & regime.flag(55, 56, 63) & at_least(cpu, "E0PD", 1)
    with when(nowhere | regime.outside | regime.two & (disabled | kept)):
        fails(cpu, TRANSLATION, 0)


@a64.routine(returns=64, slot=64, access=8, at=8, level=64)
def fetch_descriptor(cpu: Cpu, slot: Value, access: Value, at: Value, level: Value) -> Value:
    """Load a descriptor of stage 1, through stage 2: a valid one, with its physical address in
    ``walk_slot``; otherwise a fault, shifted left by one."""
    place = cpu.local(slot)
    with when(at == EL1):
        inner = stage_2(cpu, slot, access, const(EL1, 8), const(1, 8))
        with when((inner & FAULT) != 0):
            ret(inner << 1)
        place.set((inner & ~0xFFF) | slot & 0xFFF)
    with when(cpu.host("is_memory", 1, place.value) == 0):
        ret(failed(cpu, const(EXTERNAL_ON_WALK, 64), level, const(0, 64)) << 1)
    cpu.walk_slot = place.value
    descriptor = cpu.load_physical(place.value, 64)
    with when((descriptor & VALID) == 0):
        ret(failed(cpu, const(TRANSLATION, 64), level, const(0, 64)) << 1)
    return descriptor


@a64.routine(returns=64, va=64, access=8, el=8, slot=64, descriptor=64, limits=64, level=64)
def stage_1_leaf(
    cpu: Cpu, va: Value, access: Value, el: Value, slot: Value, descriptor: Value, limits: Value,
    level: Value,
) -> Value:  # fmt: skip
    """Access flag and permissions of a leaf: its attributes, or a fault."""
    regime = _Regime(cpu, ruling_level(cpu, el).zext(8), va)
    sets_access = regime.one_flag(39, 21) & at_least(cpu, "HAFDBS", 1)
    sets_dirty = regime.one_flag(40, 22) & sets_access & at_least(cpu, "HAFDBS", 2)
    wanted = cpu.local(descriptor)
    with when((descriptor & AF) == 0):
        with when(~sets_access):
            fails(cpu, ACCESS_FLAG, level)
        wanted.set(wanted.value | AF)
    store = access[0] == STORE
    with when(store & sets_dirty & ((descriptor & DBM) != 0)):
        wanted.set(wanted.value & ~AP2)
    # Tables take rights away (D8.4.2), unless TCR says that they do not.
    ignored = regime.flag(41, 42, 24) & at_least(cpu, "HPDS", 1)
    hierarchy = select(ignored, const(0, 64), limits)
    with when(~_fits(cpu, regime, access, el, wanted.value, hierarchy)):
        fails(cpu, PERMISSION, level)
    with when((wanted.value != descriptor) & ((access & LOOK) == 0)):
        fault = write_descriptor(cpu, slot, regime.at.zext(8), descriptor, wanted.value, level)
        with when(fault != 0):
            ret(fault)
    share = select(regime.wide, regime.control.lsr(12), descriptor.lsr(8))
    share = select(regime.wide & regime.high, regime.control.lsr(28), share)
    guarded = (descriptor[GP] == 1) & at_least(cpu, "BT", 1)
    attributes = select(guarded, const(GUARDED, 64), 0) | (descriptor.lsr(2) & 7) << ATTRIBUTES
    return attributes | (share & 3) << SHAREABILITY


def _fits(
    cpu: Cpu, regime: _Regime, access: Value, el: Value, leaf: Value, hierarchy: Value
) -> Value:
    """Whether a leaf and the tables above it allow an access (D8.4.1). EL0 may execute what it may
    not read."""
    store, fetch = access[0] == STORE, (access & FETCH) != 0
    read_only = ((leaf & AP2) != 0) | ((hierarchy & 1 << 62) != 0)
    for_user = ((leaf & AP1) != 0) & ((hierarchy & 1 << 61) == 0) & regime.two
    never_user = ((leaf & UXN) != 0) | ((hierarchy & 1 << 60) != 0)
    never_kernel = ((leaf & PXN) != 0) | ((hierarchy & 1 << 59) != 0)
    user, control = el == EL0, cpu.sctlr_el[regime.at]
    strict = ((control & EPAN) != 0) & at_least(cpu, "PAN", 3) & ~never_user
    hidden = (cpu.pan == 1) & ((access & NO_PAN) == 0) & regime.two & ~fetch & ~user
    hidden = hidden & (for_user | strict)
    kernel_never = select(regime.two, never_kernel | for_user & ~read_only, never_user)
    never = select(user, never_user, kernel_never)
    never = never | ((control & WXN) != 0) & ~read_only & (for_user | ~user)
    data = (for_user | ~user) & (~store | ~read_only) & ~hidden
    return select(fetch, ~never, data)


@a64.routine(returns=64, slot=64, at=8, old=64, new=64, level=64)
def write_descriptor(
    cpu: Cpu, slot: Value, at: Value, old: Value, new: Value, level: Value
) -> Value:
    """Set flags in a descriptor, if stage 2 allows it. Returns 0, a fault, or `AGAIN` if another
    vCPU has changed the descriptor."""
    place = cpu.walk_slot
    with when(at == EL1):
        inner = stage_2(cpu, slot, const(STORE, 8), const(EL1, 8), const(1, 8))
        with when((inner & FAULT) != 0):
            ret(inner)
    with when(cpu.host("is_ram", 1, place) == 0):
        fails(cpu, EXTERNAL_ON_WALK, level)
    found = cpu.cas_physical(place, old, new)
    return select(found == old, const(0, 64), AGAIN)  # another vCPU changed it


assert LOAD == 0
