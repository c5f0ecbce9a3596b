"""Stage 2 of translation (D8.2.9, D8.4.2): from intermediate addresses to physical ones.

What the manual leaves open: tables that do not fit the range they are for, and ranges larger than
physical addresses, are translation faults.
"""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..contract import FETCH, STORE, UNREADABLE
from ..trace import Cpu, Local, ret, when
from .spaces import DC, VM
from .state import a64
from .syndromes import EL0
from .tables import (
    ACCESS_FLAG,
    ADDRESS_SIZE,
    AF,
    AP1,
    AP2,
    DBM,
    EXTERNAL_ON_WALK,
    FAULT,
    LEVELS,
    LOOK,
    ON_WALK,
    PERMISSION,
    STAGE_2,
    TRANSLATION,
    UXN,
    VALID,
    Sizes,
    at_least,
    fails,
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

__all__ = ["AGAIN", "stage_2"]

AGAIN = 1 << 10
"""What is returned if another vCPU has changed a descriptor meanwhile."""

PTW = 1 << 2  # of HCR_EL2: tables of stage 1 must not lie in Device memory
# VTCR_EL2.
SH0, HA, HD, DS, SL2 = 12, 21, 22, 32, 33
XN0 = 1 << 53  # of descriptors, with UXN where the model has XNX


class _Stage2(Sizes):
    """What VTCR_EL2 says."""

    def __init__(self, cpu: Cpu):
        control = cpu.vtcr
        grain = grain_of(cpu, control.lsr(14) & 3, 2, 1)
        super().__init__(cpu, grain, control & 0x3F, control.lsr(16) & 7, control[DS] == 1)
        start = control.lsr(6) & 3
        # SL0 counts from level 2 with 4 KiB granules, from level 3 with larger ones (D17.2.162);
        # its last value is level 3 with the first, and level 0 of what has 52 bits else.
        four = select(start == 3, const(3, 64), 2 - start)
        self.first = select(grain == 12, four, 3 - start)
        deep = (grain == 12) & self.wide & (control[SL2] == 1)
        self.first = select(deep & (start == 0), const(-1, 64), self.first)
        impossible = (start == 3) & select(
            grain == 12, ~at_least(cpu, "ST", 1), ~((grain == 14) & self.wide)
        )
        self.wrong = impossible | (deep & (start != 0)) | self._misfits(cpu)

    def _misfits(self, cpu: Cpu) -> Value:
        """Whether the first table has too few entries or too many: up to 16 tables may follow one
        another; or the model has no such level."""
        stride = self.grain - 3
        entries = self.bits - ((3 - self.first) * stride + self.grain)
        fits = (entries - 1).ult(stride + 4)
        ours = model_bits(cpu)
        least = select(self.grain == 12, const(43, 64), select(self.grain == 14, 41, const(43, 64)))
        high = self.first == select(self.grain == 12, const(0, 64), 1)
        return ~fits | (high & ours.ult(least)) | output_bits(self).ult(self.bits)


@a64.routine(returns=64, ipa=64, access=8, el=8, walking=8)
def stage_2(cpu: Cpu, ipa: Value, access: Value, el: Value, walking: Value) -> Value:
    """The physical page of an intermediate address, or a fault; ``walking`` for a descriptor of
    stage 1."""
    with when((cpu.hcr & (VM | DC)) == 0):
        ret(ipa & ~0xFFF)
    cpu.fault_ipa = ipa
    more = select(walking == 1, const(STAGE_2 | ON_WALK, 64), STAGE_2)
    sizes = _Stage2(cpu)
    beyond = (ipa & ~((const(1, 64) << (sizes.bits & 63)) - 1)) != 0
    with when(sizes.outside | sizes.wrong | beyond):
        fails(cpu, TRANSLATION, 0, more)
    root, limit = root_of(cpu.vttbr & ~1, sizes, sizes.first), output_bits(sizes)
    with when(root.lsr(limit) != 0):
        fails(cpu, ADDRESS_SIZE, 0, more)
    table = cpu.local(root)
    for level in LEVELS:
        with when(const(level, 64).sge(sizes.first)):
            _level(cpu, ipa, access, el, sizes, table, level, more, limit)
    return const(FAULT, 64)


def _level(
    cpu: Cpu, ipa: Value, access: Value, el: Value, sizes: _Stage2, table: Local, level: int,
    more: Value, limit: Value,
) -> None:  # fmt: skip
    grain = sizes.grain
    shift = grain + (grain - 3) * (3 - level)
    # The first table may be several that follow one another, so its index is not masked.
    mask = select(sizes.first == level, const(-1, 64), (const(1, 64) << (grain - 3)) - 1)
    inside = ipa & ((const(1, 64) << (sizes.bits & 63)) - 1)
    slot = table.value + ((inside.lsr(shift) & mask) << 3)
    with when(cpu.host("is_memory", 1, slot) == 0):
        fails(cpu, EXTERNAL_ON_WALK, level, more)
    descriptor = cpu.load_physical(slot, 64)
    with when((descriptor & VALID) == 0):
        fails(cpu, TRANSLATION, level, more)
    leaf = is_leaf(descriptor, level)
    with when(leaf & ~may_be_leaf(cpu, descriptor, level, sizes)):
        fails(cpu, TRANSLATION, level, more)
    next_table = pointed_to(cpu, descriptor, grain, sizes.form)
    with when(next_table.lsr(limit) != 0):
        fails(cpu, ADDRESS_SIZE, level, more)
    with when(leaf):
        fault = leaf_of_stage_2(cpu, access, el, slot, descriptor, const(level, 64), more)
        with when(fault == AGAIN):
            ret(stage_2(cpu, ipa, access, el, (more & ON_WALK).lsr(8).trunc(8)))
        with when(fault != 0):
            ret(fault)
        share = select(sizes.wide, cpu.vtcr.lsr(SH0), descriptor.lsr(8)) & 3
        cpu.memory_of_stage_2 = descriptor.lsr(2) & 15 | share << 4
        hidden = (access[0] == STORE) & ((descriptor & AP1) == 0)
        marks = select(hidden, const(UNREADABLE, 64), 0) | size_of_leaf(level, grain)
        ret(of_page(cpu, descriptor, ipa, shift, sizes) | marks)
    table.set(next_table)


@a64.routine(returns=64, access=8, el=8, slot=64, descriptor=64, level=64, more=64)
def leaf_of_stage_2(
    cpu: Cpu, access: Value, el: Value, slot: Value, descriptor: Value, level: Value, more: Value
) -> Value:
    """Access flag and permissions: a fault, or 0."""
    control = cpu.vtcr
    sets_access = (control[HA] == 1) & at_least(cpu, "HAFDBS", 1)
    sets_dirty = (control[HD] == 1) & sets_access & at_least(cpu, "HAFDBS", 2)
    wanted = cpu.local(descriptor)
    with when((descriptor & AF) == 0):
        with when(~sets_access):
            fails(cpu, ACCESS_FLAG, level, more)
        wanted.set(wanted.value | AF)
    store, fetch = access[0] == STORE, (access & FETCH) != 0
    with when(store & sets_dirty & ((descriptor & DBM) != 0)):
        wanted.set(wanted.value | AP2)
    readable, writable = (descriptor & AP1) != 0, (wanted.value & AP2) != 0
    one = (descriptor & XN0) != 0
    other = one & at_least(cpu, "XNX", 1)
    never = (descriptor & UXN) != 0
    # 10 is for nobody, 01 for EL0 alone, 11 for EL1 alone (D8.4.2).
    never = select(other, select(never, el == EL0, el != EL0), never)
    walk_in_device = ((more & ON_WALK) != 0) & ((cpu.hcr & PTW) != 0) & (descriptor & 0x30 == 0)
    fits = select(fetch, readable & ~never, select(store, writable, readable))
    with when(~fits | walk_in_device):
        fails(cpu, PERMISSION, level, more)
    with when((wanted.value != descriptor) & ((access & LOOK) == 0)):
        with when(cpu.host("is_ram", 1, slot) == 0):
            fails(cpu, EXTERNAL_ON_WALK, level, more)
        old = cpu.cas_physical(slot, descriptor, wanted.value)
        with when(old != descriptor):
            ret(const(AGAIN, 64))
    return const(0, 64)
