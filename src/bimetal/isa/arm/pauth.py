"""Pointer authentication (D8.9, J1.1.3): a code in bits of a pointer that translation ignores,
computed from the pointer, a modifier and a key.

The algorithm is QARMA5 or, by default, one of our own (FEAT_PACIMP), which takes about a dozen host
instructions and has not been analysed by cryptographers. A pointer whose code is wrong gets an
error code, which makes it an invalid address (FEAT_FPAC is absent).

The settings for the current exception level are cached in ``pac`` and ``pac_field``.
"""

from __future__ import annotations

from ...ir.value import Value, const, pure, select
from ..trace import Cpu, slowly, when
from .hosts import ruled_by_el2
from .qarma import qarma5
from .state import a64
from .syndromes import AUTHENTICATION, E2H, trap_to_el2
from .tables import at_least
from .tags import TAG, tagged

__all__ = [
    "AT_EL2", "DA", "DB", "GA", "IA", "IB", "authenticated", "generic", "mixed", "need_keys",
    "signed", "stripped", "update_pauth",
]  # fmt: skip

IA, IB, DA, DB, GA = range(5)
"""Keys, A and B, of instructions' and data's addresses, and of anything."""

# Of ``pac``: a bit for each key of addresses that is enabled, and what else there is to know.
TRAPPED, AT_EL2, QARMA = 1 << 4, 1 << 5, 1 << 6
BY_SIGN = 7  # bits 7 and 8: of instructions, data: the range is told by bit 63, not 55

ENABLES = (31, 30, 27, 13)  # of SCTLR_ELx, by key
API = 1 << 41  # of HCR_EL2: EL1 and EL0 use keys without a trap
RANGE = 1 << 55
MULTIPLIERS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
LEAST_SIZE, MOST_SIZE = 12, 39  # of TCR_ELx.TnSZ
MOST_WITH_ST = 48  # with small tables, and one less with granules of 64 KiB


@a64.routine()
def update_pauth(cpu: Cpu) -> None:
    """Recompute ``pac`` and ``pac_field``, after changes of SCTLR, TCR, HCR or the regime."""
    above = ruled_by_el2(cpu, cpu.el)
    at = select(above, const(2, 2), 1)
    control, size = cpu.sctlr_el[at], cpu.tcr_el[at]
    two = ~above | ((cpu.hcr & E2H) != 0)  # ranges
    pac = const(0, 64)
    for key, bit in enumerate(ENABLES):
        pac = pac | (control.lsr(bit) & 1) << key
    trapped = ~above & (cpu.el2_there == 1) & ((cpu.hcr & API) == 0)
    by_qarma = at_least(cpu, "APA", 1)
    for condition, bits in ((trapped, TRAPPED), (above, AT_EL2), (by_qarma, QARMA)):
        pac = pac | select(condition, const(bits, 64), 0)
    for data in range(2):
        ignored = [_tagged(cpu, size, two, bool(data), high) for high in range(2)]
        pac = pac | (~(ignored[0] | ignored[1])).zext(64) << BY_SIGN + data
        for high in range(2):
            places = _places(cpu, size, two, high)
            cpu.pac_field[2 * data + high] = places | select(ignored[high], const(0, 64), TAG)
    cpu.pac = pac.trunc(16)


def _tagged(cpu: Cpu, control: Value, two: Value, data: bool, high: int) -> Value:
    """Whether addresses of a range have a tag."""

    def flag(low: int, above: int, single: int) -> Value:
        return select(two, control[above if high else low], control[single])

    return tagged(cpu, flag, const(not data, 1))


def _places(cpu: Cpu, control: Value, two: Value, high: int) -> Value:
    """The bits between an address of a range and bit 55."""
    size = select(two, control.lsr(16 * high), control) & 0x3F
    granule = select(two, control.lsr(30 if high else 14), control.lsr(14)) & 3
    large = granule == select(two, const(3 if high else 1, 64), 1)
    small = const(MOST_WITH_ST, 64) - large.zext(64)
    most = select(at_least(cpu, "ST", 1), small, const(MOST_SIZE, 64))
    size = pure("umin", pure("umax", size, LEAST_SIZE), most)
    places: Value = (const(-1, 64) << (64 - size)) & (RANGE - 1)
    return places


def _field(cpu: Cpu, data: bool, high: Value) -> Value:
    """The bits of a code in a pointer."""
    first = 2 * int(data)
    return select(high, cpu.pac_field[first + 1], cpu.pac_field[first])


def _extended(pointer: Value, field: Value, high: Value) -> Value:
    """A pointer whose code's bits are again those of its range."""
    return select(high, pointer | field | RANGE, pointer & ~(field | RANGE))


def mixed(pointer: Value, modifier: Value, low: Value, high: Value) -> Value:
    """Our own algorithm: the upper bits of the result depend on every bit of all operands."""
    first, second, third = MULTIPLIERS
    value = (pointer ^ low) * first
    value = ((value ^ value.lsr(32)) + (modifier ^ high)) * second
    value = ((value ^ value.lsr(29)) + low) * third
    mixed: Value = value ^ value.lsr(32)
    return mixed


def _code(cpu: Cpu, key: int, data: Value, modifier: Value) -> Value:
    """ComputePAC of 64 bits of data."""
    low, high = cpu.pac_key[2 * key], cpu.pac_key[2 * key + 1]
    code = cpu.local(mixed(data, modifier, low, high))
    with slowly((cpu.pac & QARMA) != 0):
        code.set(qarma5(cpu, data, modifier, low, high))
    return code.value


def need_keys(cpu: Cpu) -> None:
    """Trap an instruction that uses keys to EL2, if HCR_EL2.API asks for that."""
    with slowly((cpu.pac & TRAPPED) != 0):
        trap_to_el2(cpu, AUTHENTICATION)


def signed(cpu: Cpu, key: int, pointer: Value, modifier: Value) -> Value:
    """AddPAC: the pointer with a code, if the key is enabled. If the pointer was not a valid
    address, a bit of the code is inverted, so that it is wrong."""
    data, result = key in (DA, DB), cpu.local(pointer)
    with when((cpu.pac & 1 << key) != 0):
        need_keys(cpu)
        high = select(cpu.pac[BY_SIGN + data] == 1, pointer[63], pointer[55])
        field = _field(cpu, data, high)
        code = _code(cpu, key, _extended(pointer, field, high), modifier)
        checked = pointer & (field | RANGE)
        good = (checked == 0) | (checked == field | RANGE)
        highest = select(field[62], const(1 << 62, 64), 1 << 54)
        code = code ^ select(good, const(0, 64), highest)
        range_bit = select(high, const(RANGE, 64), 0)
        result.set(pointer & ~(field | RANGE) | code & field | range_bit)
    return result.value


def authenticated(cpu: Cpu, key: int, pointer: Value, modifier: Value) -> Value:
    """Auth: the pointer without its code, if the key is enabled; if the code was wrong, with an
    error code that depends on which key (A or B) it is."""
    data, result = key in (DA, DB), cpu.local(pointer)
    with when((cpu.pac & 1 << key) != 0):
        need_keys(cpu)
        high = pointer[55]
        field = _field(cpu, data, high)
        original = _extended(pointer, field, high)
        code = _code(cpu, key, original, modifier)
        error = 2 if key in (IB, DB) else 1
        place = select(field[62], const(61, 64), 53)
        wrong = original & ~(const(3, 64) << place) | const(error, 64) << place
        result.set(select(((code ^ pointer) & field) == 0, original, wrong))
    return result.value


def stripped(cpu: Cpu, pointer: Value, data: bool) -> Value:
    """Strip: the pointer without its code, whatever that is."""
    high = pointer[55]
    return _extended(pointer, _field(cpu, data, high), high)


def generic(cpu: Cpu, data: Value, modifier: Value) -> Value:
    """PACGA: the upper half of a code of anything."""
    need_keys(cpu)
    return _code(cpu, GA, data, modifier) & 0xFFFF_FFFF_0000_0000
