"""Registers of the performance monitors (D17.5)."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.value import Value, const, select
from ...trace import Cpu, slowly, when
from ..features import COUNTERS
from ..pmu import ALL, CYCLES, EVENTS, HPMN, SW_INCR, advance, reserved_for_el2
from ..syndromes import EL0, EL2, SYSTEM, refused, trap_to_el2, undefined
from ..sysregs import Check, Encoding, Read, Write, constant, system_register
from ..timers import poll_timer

__all__: list[str] = []

EN, SW, CR, ER = 1 << 0, 1 << 1, 1 << 2, 1 << 3  # of PMUSERENR_EL0
TPMCR, TPM = 1 << 5, 1 << 6  # of MDCR_EL2
E, RESET_EVENTS, RESET_CYCLES, X, DP, LC = (1 << n for n in (0, 1, 2, 4, 5, 6))  # of PMCR_EL0
FILTERS, EVENT = 1 << 31 | 1 << 30 | 1 << 27, 0x3FF


def _allowed(bits: int, read_bits: int = 0, trapped: int = TPM) -> Check:
    """EL0 may if PMUSERENR_EL0 has any of ``bits``, or of ``read_bits`` to read."""

    def check(cpu: Cpu, writes: bool, iss: Value) -> None:
        wanted = bits if writes else bits | read_bits
        with slowly((cpu.el == EL0) & ((cpu.pmuserenr & wanted) == 0)):
            refused(cpu, iss)
        with slowly((cpu.el != EL2) & (cpu.el2_there == 1) & ((cpu.mdcr & trapped) != 0)):
            trap_to_el2(cpu, SYSTEM, iss)

    return check


def _register(
    name: str, encoding: Encoding, read: Read | None, write: Write | None, check: Check
) -> None:
    """A register that is looked at, or changed, with all counters up to date."""

    def get(cpu: Cpu) -> Value:
        advance(cpu)
        assert read is not None
        return read(cpu)

    def put(cpu: Cpu, value: Value) -> None:
        advance(cpu)
        assert write is not None
        write(cpu, value)
        poll_timer(cpu)

    system_register(name, encoding, get if read else None, put if write else None, check=check)


# -- control


def _read_control(cpu: Cpu) -> Value:
    guest = (cpu.el != EL2) & (cpu.el2_there == 1)
    count = select(guest, cpu.mdcr & HPMN, const(COUNTERS, 64))
    control: Value = cpu.pmcr | count << 11 | LC
    return control


def _write_control(cpu: Cpu, value: Value) -> None:
    cpu.pmcr = value & (E | X | DP)
    with when((value & RESET_CYCLES) != 0):
        cpu.pmcount[COUNTERS] = const(0, 64)
    with when((value & RESET_EVENTS) != 0):
        kept = reserved_for_el2(cpu)
        for n in range(COUNTERS):
            cpu.pmcount[n] = select(kept[n], cpu.pmcount[n], const(0, 64))


_register("pmcr_el0", (3, 3, 9, 12, 0), _read_control, _write_control,
          _allowed(EN, trapped=TPM | TPMCR))  # fmt: skip


# -- a bit for each counter


def _bits(name: str, at: str, encoding: Encoding, sets: bool, check: Check) -> None:
    def read(cpu: Cpu) -> Value:
        value: Value = getattr(cpu, at)
        return value & ~reserved_for_el2(cpu)

    def write(cpu: Cpu, value: Value) -> None:
        bits = value & ALL & ~reserved_for_el2(cpu)
        before = getattr(cpu, at)
        setattr(cpu, at, before | bits if sets else before & ~bits)

    _register(name, encoding, read, write, check)


def _privileged(cpu: Cpu, writes: bool, iss: Value) -> None:
    with slowly((cpu.el != EL2) & (cpu.el2_there == 1) & ((cpu.mdcr & TPM) != 0)):
        trap_to_el2(cpu, SYSTEM, iss)


_bits("pmcntenset_el0", "pmcnten", (3, 3, 9, 12, 1), True, _allowed(EN))
_bits("pmcntenclr_el0", "pmcnten", (3, 3, 9, 12, 2), False, _allowed(EN))
_bits("pmovsclr_el0", "pmovs", (3, 3, 9, 12, 3), False, _allowed(EN))
_bits("pmovsset_el0", "pmovs", (3, 3, 9, 14, 3), True, _allowed(EN))
_bits("pmintenset_el1", "pminten", (3, 0, 9, 14, 1), True, _privileged)
_bits("pmintenclr_el1", "pminten", (3, 0, 9, 14, 2), False, _privileged)


def _increment(cpu: Cpu, value: Value) -> None:
    """Count by software; an overflow is told at the next poll, as what is told at once is done
    twice."""
    advance(cpu)
    on = value & cpu.pmcnten & ~reserved_for_el2(cpu)
    for n in range(COUNTERS):
        counts = on[n] & ((cpu.pmtype[n] & EVENT) == SW_INCR) & (cpu.pmcr[0] == 1)
        with when(counts):
            after = (cpu.pmcount[n] + 1) & 0xFFFF_FFFF
            cpu.pmcount[n] = after
            cpu.pmovs = cpu.pmovs | (after == 0).zext(64) << n


system_register("pmswinc_el0", (3, 3, 9, 12, 4), None, _increment, check=_allowed(EN | SW))

# -- events that there are


def _list_of_events(first: int) -> int:
    return sum(1 << event - first for event in EVENTS if first <= event < first + 32)


for _n in range(2):
    constant(f"pmceid{_n}_el0", (3, 3, 9, 12, 6 + _n), _list_of_events(32 * _n), check=_allowed(EN))

# -- counters and their types


def _not_el2s(number: int, check: Check) -> Check:
    """Counters that EL2 keeps are undefined below it."""

    def both(cpu: Cpu, writes: bool, iss: Value) -> None:
        check(cpu, writes, iss)
        with slowly(reserved_for_el2(cpu)[number]):
            undefined(cpu)

    return both


def _put_count(cpu: Cpu, number: int, value: Value) -> None:
    cpu.pmcount[number] = value if number == COUNTERS else value & 0xFFFF_FFFF


def _put_type(cpu: Cpu, number: int, value: Value) -> None:
    kept = FILTERS if number == COUNTERS else FILTERS | EVENT
    cpu.pmtype[number] = value & kept


def _counter(number: int) -> None:
    place, last = number >> 3, number & 7
    _register(
        f"pmevcntr{number}_el0", (3, 3, 14, 8 | place, last), lambda cpu: cpu.pmcount[number],
        lambda cpu, value: _put_count(cpu, number, value), _not_el2s(number, _allowed(EN, ER)),
    )  # fmt: skip
    _register(
        f"pmevtyper{number}_el0", (3, 3, 14, 12 | place, last), lambda cpu: cpu.pmtype[number],
        lambda cpu, value: _put_type(cpu, number, value), _not_el2s(number, _allowed(EN)),
    )  # fmt: skip


for _n in range(COUNTERS):
    _counter(_n)
_register(
    "pmccntr_el0", (3, 3, 9, 13, 0), lambda cpu: cpu.pmcount[COUNTERS],
    lambda cpu, value: _put_count(cpu, COUNTERS, value), _allowed(EN, CR),
)  # fmt: skip
_register(
    "pmccfiltr_el0", (3, 3, 14, 15, 7), lambda cpu: cpu.pmtype[COUNTERS],
    lambda cpu, value: _put_type(cpu, COUNTERS, value), _allowed(EN),
)  # fmt: skip


# -- the same by number


def _write_select(cpu: Cpu, value: Value) -> None:
    cpu.pmselr = value & 31


system_register("pmselr_el0", (3, 3, 9, 12, 5), lambda cpu: cpu.pmselr, _write_select,
                check=_allowed(EN | ER))  # fmt: skip


def _selected(
    name: str, op2: int, at: str, put: Callable[[Cpu, int, Value], None], check: Check
) -> None:
    """The register of the counter that PMSELR_EL0 selects; one that is not there reads as zero. The
    cycle counter has its filter under this name alone."""
    numbers = [(n, n) for n in range(COUNTERS)]
    if at == "pmtype":
        numbers.append((CYCLES, COUNTERS))

    def read(cpu: Cpu) -> Value:
        value = const(0, 64)
        for number, place in numbers:
            value = select(cpu.pmselr == number, getattr(cpu, at)[place], value)
        return value

    def write(cpu: Cpu, value: Value) -> None:
        for number, place in numbers:
            with when(cpu.pmselr == number):
                put(cpu, place, value)

    def there(cpu: Cpu, writes: bool, iss: Value) -> None:
        check(cpu, writes, iss)
        with slowly((reserved_for_el2(cpu).lsr(cpu.pmselr) & 1) == 1):
            undefined(cpu)

    _register(name, (3, 3, 9, 13, op2), read, write, there)


_selected("pmxevtyper_el0", 1, "pmtype", _put_type, _allowed(EN))
_selected("pmxevcntr_el0", 2, "pmcount", _put_count, _allowed(EN, ER))


def _user_access(cpu: Cpu, writes: bool, iss: Value) -> None:
    """EL0 may read what it may do."""
    if writes:
        with slowly(cpu.el == EL0):
            undefined(cpu)
    _privileged(cpu, writes, iss)


def _write_user(cpu: Cpu, value: Value) -> None:
    cpu.pmuserenr = value & (EN | SW | CR | ER)


system_register("pmuserenr_el0", (3, 3, 9, 14, 0), lambda cpu: cpu.pmuserenr, _write_user,
                check=_user_access)  # fmt: skip
