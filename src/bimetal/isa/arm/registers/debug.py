"""Debug and performance monitors, as far as systems look at them (D2, D13).

There are six breakpoints and four watchpoints, whose registers can be written; none of them stops
anything yet. There is no counter but the cycle counter, and no event.
"""

from __future__ import annotations

from ....ir.value import Value, const
from ...trace import Cpu
from ..sysregs import constant, stored, system_register

__all__: list[str] = []

BREAKPOINTS, WATCHPOINTS = 6, 4


def _ignored(name: str, encoding: tuple[int, int, int, int, int], value: int = 0) -> None:
    """A register whose writes have no effect."""
    system_register(name, encoding, lambda cpu: const(value, 64), lambda cpu, new: None)


stored("mdscr_el1", (2, 0, 0, 2, 2), at="mdscr")
for _n in range(16):
    if _n < BREAKPOINTS:
        _ignored(f"dbgbvr{_n}_el1", (2, 0, 0, _n, 4))
        _ignored(f"dbgbcr{_n}_el1", (2, 0, 0, _n, 5))
    if _n < WATCHPOINTS:
        _ignored(f"dbgwvr{_n}_el1", (2, 0, 0, _n, 6))
        _ignored(f"dbgwcr{_n}_el1", (2, 0, 0, _n, 7))
system_register("oslar_el1", (2, 0, 1, 0, 4), None, lambda cpu, value: None)
constant("oslsr_el1", (2, 0, 1, 1, 4), 8)  # there is an OS lock, and it is open
_ignored("osdlr_el1", (2, 0, 1, 3, 4))
_ignored("dbgprcr_el1", (2, 0, 1, 4, 4))
_ignored("dbgclaimset_el1", (2, 0, 7, 8, 6), 0xFF)
_ignored("dbgclaimclr_el1", (2, 0, 7, 9, 6))
constant("mdccsr_el0", (2, 3, 0, 1, 0), 0)
constant("mdrar_el1", (2, 0, 1, 0, 0), 0)


def _cycles(cpu: Cpu) -> Value:
    return cpu.host("instret", 64)


# The performance monitors' cycle counter counts instructions.
for _name, _crm, _op2 in (
    ("pmcr_el0", 12, 0), ("pmcntenset_el0", 12, 1), ("pmcntenclr_el0", 12, 2),
    ("pmovsclr_el0", 12, 3), ("pmselr_el0", 12, 5), ("pmxevtyper_el0", 13, 1),
    ("pmxevcntr_el0", 13, 2), ("pmuserenr_el0", 14, 0), ("pmovsset_el0", 14, 3),
):  # fmt: skip
    _ignored(_name, (3, 3, 9, _crm, _op2))
_ignored("pmintenset_el1", (3, 0, 9, 14, 1))
_ignored("pmintenclr_el1", (3, 0, 9, 14, 2))
system_register("pmswinc_el0", (3, 3, 9, 12, 4), None, lambda cpu, value: None)
constant("pmceid0_el0", (3, 3, 9, 12, 6), 0)
constant("pmceid1_el0", (3, 3, 9, 12, 7), 0)
system_register("pmccntr_el0", (3, 3, 9, 13, 0), _cycles, lambda cpu, value: None)
_ignored("pmccfiltr_el0", (3, 3, 14, 15, 7))
