"""Generic timers (D11): a counter of a fixed rate, and comparators with an output each.

The outputs are wires to the interrupt controller on the board, which hears of changes at polls and
when a timer's registers are written.
"""

from __future__ import annotations

from ...ir.value import Value, const, pure, select
from ..trace import Cpu, when
from .hosts import hosts
from .pmu import advance, interrupts
from .state import a64

__all__ = [
    "FREQUENCY", "HYPERVISOR", "HYPERVISOR_VIRTUAL", "PHYSICAL", "VIRTUAL", "counter", "fired",
    "poll_timer", "virtual_counter",
]  # fmt: skip

FREQUENCY = 62_500_000
"""Ticks a second, as QEMU's ``virt`` has it: 16 nanoseconds each."""
NANOSECONDS = 1_000_000_000 // FREQUENCY
a64.state.younger["cntfrq"] = FREQUENCY  # it was no register, and always this

PHYSICAL, VIRTUAL, HYPERVISOR, HYPERVISOR_VIRTUAL = range(4)
MONITORS = 4
"""The output of the performance monitors, behind those of the timers."""
ENABLE, MASKED, FIRED = 1, 2, 4  # of CNTx_CTL


def counter(cpu: Cpu) -> Value:
    """CNTPCT_EL0."""
    return pure("udiv", cpu.host("time_ns", 64), NANOSECONDS)


def virtual_counter(cpu: Cpu) -> Value:
    """CNTVCT_EL0: behind the physical one by CNTVOFF_EL2, unless a host reads it."""
    value: Value = counter(cpu) - select(hosts(cpu), const(0, 64), cpu.cntvoff)
    return value


def fired(cpu: Cpu, timer: int, now: Value) -> Value:
    """Whether a timer's condition holds: the count that it compares with has been reached."""
    count = now - cpu.cntvoff if timer == VIRTUAL else now
    # The counter has 64 bits and begins at 0, so the comparison is a plain one (D11.2.4).
    reached: Value = count.uge(cpu.timer_cval[timer])
    on: Value = (cpu.timer_ctl[timer] & ENABLE) != 0
    return reached & on


@a64.routine()
def poll_timer(cpu: Cpu) -> None:
    """Renew the outputs, the performance monitors' among them; the board is told if one of them
    has changed."""
    now = counter(cpu)
    changed = cpu.local(const(0, 1))
    for timer in range(4):
        level = fired(cpu, timer, now) & ((cpu.timer_ctl[timer] & MASKED) == 0)
        changed.set(changed.value | (level.zext(8) != cpu.outputs[timer]))
        cpu.outputs[timer] = level.zext(8)
    with when((cpu.pmcnten != 0) | (cpu.pmovs != 0) | (cpu.outputs[MONITORS] != 0)):
        advance(cpu)
        overflow = interrupts(cpu).zext(8)
        changed.set(changed.value | (overflow != cpu.outputs[MONITORS]))
        cpu.outputs[MONITORS] = overflow
    with when(changed.value):
        cpu.leave("outputs")
