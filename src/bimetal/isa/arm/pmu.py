"""Performance monitors (D13): a cycle counter and event counters, and their interrupt.

Instructions are counted, each as one cycle. `advance` brings the counters up to date; a change of
the exception level calls it too, because counters may exclude levels. An overflow is noticed by the
next `advance`, at a poll at the latest.
"""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu, when
from .features import COUNTERS
from .state import a64
from .syndromes import EL0, EL1, EL2

__all__ = ["ALL", "CYCLES", "EVENTS", "advance", "interrupts", "own_counters", "reserved_for_el2"]

CYCLES = 31
"""The number of the cycle counter; its registers stand behind the others'."""
ALL = 1 << CYCLES | (1 << COUNTERS) - 1
SW_INCR, INST_RETIRED, CPU_CYCLES = 0x00, 0x08, 0x11
EVENTS = (SW_INCR, INST_RETIRED, CPU_CYCLES)
P, U, NSH = 31, 30, 27  # of PMEVTYPER and PMCCFILTR: not at EL1, not at EL0, at EL2
E = 1 << 0  # of PMCR_EL0
HPMN, HPME = 31, 1 << 7  # of MDCR_EL2


def own_counters(cpu: Cpu) -> Value:
    """The event counters that are not EL2's, a bit each (MDCR_EL2.HPMN)."""
    below = (const(1, 64) << (cpu.mdcr & HPMN)) - 1
    own: Value = select(cpu.el2_there == 1, below, const(-1, 64)) & (1 << COUNTERS) - 1
    return own


def reserved_for_el2(cpu: Cpu) -> Value:
    """The counters that the current exception level may not access."""
    kept: Value = select(cpu.el == EL2, const(0, 64), ~own_counters(cpu) & (1 << COUNTERS) - 1)
    return kept


def _enabled(cpu: Cpu) -> Value:
    """The counters that are not stopped globally (PMCR_EL0.E, MDCR_EL2.HPME)."""
    own = own_counters(cpu)
    by_el1 = select((cpu.pmcr & E) != 0, own | 1 << CYCLES, 0)
    by_el2 = select((cpu.mdcr & HPME) != 0, ~own & (1 << COUNTERS) - 1, 0)
    enabled: Value = by_el1 | by_el2
    return enabled


def _at_this_level(cpu: Cpu, kind: Value) -> Value:
    """Whether a counter of a type counts at the exception level."""
    el1, el0, el2 = kind[P] == 0, kind[U] == 0, kind[NSH] == 1
    return select(cpu.el == EL2, el2, select(cpu.el == EL1, el1, el0))


@a64.routine()
def advance(cpu: Cpu) -> None:
    """Count the instructions executed since the last call, all of them at the current level."""
    now = cpu.host("instret", 64)
    passed = now - cpu.pm_since
    cpu.pm_since = now
    counting = cpu.pmcnten & _enabled(cpu)
    with when((passed != 0) & (counting != 0)):
        for n in range(COUNTERS + 1):
            cycles = n == COUNTERS
            kind = cpu.pmtype[n]
            event = kind & 0xFFFF
            does = (event == INST_RETIRED) | (event == CPU_CYCLES) if not cycles else const(1, 1)
            bit = CYCLES if cycles else n
            with when(counting[bit] & does & _at_this_level(cpu, kind)):
                before = cpu.pmcount[n]
                after = before + passed
                if cycles:
                    over = after.ult(before)
                else:
                    over = after.lsr(32) != 0
                    after = after & 0xFFFF_FFFF
                cpu.pmcount[n] = after
                cpu.pmovs = cpu.pmovs | over.zext(64) << bit


def interrupts(cpu: Cpu) -> Value:
    """The level of the overflow interrupt."""
    level: Value = (cpu.pmovs & cpu.pminten & _enabled(cpu)) != 0
    return level


assert EL0 == 0
