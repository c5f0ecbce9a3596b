"""Translation tables as both stages read them (D8.2, D8.3): sizes, levels, descriptors, faults.

Levels go from -1, of five levels of 4 KiB, to 3. With more than 48 bits, addresses in descriptors
and registers have their high bits in other places (D8.3.1): a *form* says which.
"""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..contract import HUGE, LARGE
from ..trace import Cpu, ret
from .features import IDENTIFICATION, PHYSICAL_BITS, place
from .state import a64

__all__ = [
    "ACCESS_FLAG", "ADDRESS_SIZE", "AF", "AP1", "AP2", "DBM", "EXTERNAL_ON_WALK", "FAULT", "GP",
    "LEVELS", "LOOK", "NG", "NO_PAN", "ONE_STAGE", "ON_WALK", "PERMISSION", "PXN", "STAGE_2",
    "STATUS", "TRANSLATION", "UXN", "VALID", "Sizes", "at_least", "fails", "first_level",
    "grain_of", "is_leaf", "may_be_leaf", "may_be_wide", "model_bits", "of_page", "output_bits",
    "pointed_to", "root_of", "size_of_leaf",
]  # fmt: skip

# Of what `mmu.walk` returns: besides `GLOBAL`, `LARGE` and `HUGE`, as in PAR_EL1 (C5.3), F, PTW
# and S.
FAULT, ON_WALK, STAGE_2 = 1, 1 << 8, 1 << 9
STATUS = 1  # where the fault status stands

# Of a kind of access: nothing is written into tables; stage 2 is not asked of what stage 1 finds;
# whatever PSTATE.PAN says.
LOOK, ONE_STAGE, NO_PAN = 1 << 7, 1 << 6, 1 << 5

# Fault status codes (D17.2.37), to which the level is added; at level -1 the first two have others.
ADDRESS_SIZE, TRANSLATION, ACCESS_FLAG, PERMISSION = 0, 4, 8, 12
EXTERNAL_ON_WALK = 0x14
BELOW_0 = {ADDRESS_SIZE: 0x29, TRANSLATION: 0x2B}

# Descriptors (D8.3).
VALID, TABLE = 1, 2
AP1, AP2, AF, NG = 1 << 6, 1 << 7, 1 << 10, 1 << 11
GP, DBM, PXN, UXN = 50, 1 << 51, 1 << 53, 1 << 54
LEVELS = range(-1, 4)

# Forms of addresses: of 48 bits; of 52 with granules of 4 and 16 KiB (LPA2), of 64 KiB (LPA).
PLAIN, WIDE, WIDE_64K = range(3)
OF_52 = len(PHYSICAL_BITS) - 1


@a64.routine(returns=64, code=64, level=64, more=64)
def failed(cpu: Cpu, code: Value, level: Value, more: Value) -> Value:
    """What a walk returns for a fault at a level."""
    status = code + level
    for kind, below in BELOW_0.items():
        status = select((code == kind) & (level == -1), const(below, 64), status)
    return status << STATUS | FAULT | more


def fails(cpu: Cpu, code: int, level: int | Value, more: Value | int = 0) -> None:
    """Return a fault from the routine being traced."""
    ret(
        failed(
            cpu,
            const(code, 64),
            const(level, 64) if isinstance(level, int) else level,
            const(more, 64) if isinstance(more, int) else more,
        )
    )


def _field(cpu: Cpu, name: str) -> Value:
    """A field of the model's identification registers."""
    register, at = place(name)
    found: Value = cpu.identity[list(IDENTIFICATION).index(register)].lsr(at) & 15
    return found


def at_least(cpu: Cpu, name: str, least: int) -> Value:
    """Whether the model has what a field of its identification registers says by a value."""
    return _field(cpu, name).uge(least)


def model_bits(cpu: Cpu) -> Value:
    """How many bits the model's physical addresses have."""
    return _width(_field(cpu, "PARange"))


def _width(code: Value) -> Value:
    bits = const(PHYSICAL_BITS[-1], 64)
    for number, width in enumerate(PHYSICAL_BITS[:-1]):
        bits = select(code == number, const(width, 64), bits)
    return bits


def grain_of(cpu: Cpu, code: Value, sixteen: int, sixty_four: int) -> Value:
    """log2 of the granule by TG0 or TG1, whose codes differ (D17.2.131); 12 for what the model has
    not."""
    large = select(code == sixty_four, const(16, 64), 12)
    return select((code == sixteen) & at_least(cpu, "TGran16", 1), const(14, 64), large)


def may_be_wide(cpu: Cpu, grain: Value) -> Value:
    """Whether DS means anything for a granule, given by its log2: whether the model has descriptors
    of 52-bit addresses for it (FEAT_LPA2)."""
    four = (grain == 12) & at_least(cpu, "TGran4", 1)
    return four | (grain == 14) & at_least(cpu, "TGran16", 2)


class Sizes:
    """Sizes of addresses in one stage: from what its control register says, and the model."""

    def __init__(self, cpu: Cpu, grain: Value, size: Value, asked: Value, ds: Value):
        """``size`` is T0SZ or T1SZ, ``asked`` IPS or PS, ``ds`` the bit DS (D17.2.131)."""
        self.grain, self.bits = grain, 64 - size
        self.wide = ds & may_be_wide(cpu, grain)
        large = (grain == 16) & at_least(cpu, "VARange", 1)
        least = select(self.wide | large, const(12, 64), 16)
        most = select(grain == 16, const(47, 64), 48)
        most = select(at_least(cpu, "ST", 1), most, 39)
        self.outside = size.ult(least) | most.ult(size)
        ours = _field(cpu, "PARange")
        code = select(asked.ult(ours), asked, ours)
        able = self.wide | (grain == 16)
        self.output = select((code == OF_52) & ~able, const(OF_52 - 1, 64), code)
        whole = self.output == OF_52
        self.form = select(self.wide, const(WIDE, 64), select(whole, const(WIDE_64K, 64), PLAIN))


def output_bits(sizes: Sizes) -> Value:
    """How many bits an output address may have."""
    return _width(sizes.output)


def first_level(sizes: Sizes) -> Value:
    """Where a walk begins: the tables below it cover the whole range."""
    wide, stride = sizes.bits - sizes.grain, sizes.grain - 3
    level = const(3, 64)
    for more in range(1, 5):
        level = level - (stride * more).ult(wide).zext(64)
    return level


def root_of(base: Value, sizes: Sizes, first: Value) -> Value:
    """The address of the first table, by TTBR or VTTBR; it is aligned to its size."""
    shift = sizes.grain + (sizes.grain - 3) * (3 - first)
    high = select(sizes.output == OF_52, (base.lsr(2) & 15) << 48, 0)
    bits: Value = sizes.bits - shift + 3
    least = select(sizes.output == OF_52, const(6, 64), 1)
    bits = select(bits.ult(least), least, bits)
    whole: Value = (base & (1 << 48) - 1) & ~((const(1, 64) << bits) - 1)
    return whole | high


@a64.routine(returns=64, descriptor=64, grain=64, form=64)
def pointed_to(cpu: Cpu, descriptor: Value, grain: Value, form: Value) -> Value:
    """The address in a descriptor: of a table, or with more zeros of a page or block."""
    low = select(form == WIDE, descriptor & (1 << 50) - 1, descriptor & (1 << 48) - 1)
    high = select(form == WIDE, (descriptor.lsr(8) & 3) << 50, (descriptor.lsr(12) & 15) << 48)
    aligned = low & ~((const(1, 64) << grain) - 1)
    return aligned | select(form == PLAIN, const(0, 64), high)


def is_leaf(descriptor: Value, level: int) -> Value:
    """Whether a valid descriptor is a leaf."""
    return const(1, 1) if level == 3 else (descriptor & TABLE) == 0


def may_be_leaf(cpu: Cpu, descriptor: Value, level: int, sizes: Sizes) -> Value:
    """Whether a leaf may be one at this level (D8.3.1)."""
    grain = sizes.grain
    if level == 3:
        return (descriptor & TABLE) != 0  # without the bit it is reserved
    if level == 2:
        return const(1, 1)
    if level == 1:
        large = (grain == 16) & at_least(cpu, "PARange", OF_52)
        return (grain == 12) | (grain == 14) & sizes.wide | large
    return (grain == 12) & sizes.wide if level == 0 else const(0, 1)


def size_of_leaf(level: int, grain: Value) -> Value:
    """The marks of a leaf that maps more than 4 KiB."""
    if level == 3:
        return select(grain == 12, const(0, 64), LARGE)
    of_a_gigabyte = grain == 12 if level == 1 else const(0, 1)
    return const(LARGE, 64) if level == 2 else select(of_a_gigabyte, const(LARGE, 64), LARGE | HUGE)


def of_page(cpu: Cpu, descriptor: Value, address: Value, shift: Value, sizes: Sizes) -> Value:
    """The page that a leaf translates an address to."""
    low = (const(1, 64) << shift) - 1
    base = pointed_to(cpu, descriptor, sizes.grain, sizes.form)
    return ((base & ~low) | (address & low)) & ~0xFFF
