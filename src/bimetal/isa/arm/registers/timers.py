"""Registers of the generic timers (D11, D17.11)."""

from __future__ import annotations

from ....ir.value import Value, const, select
from ...trace import Cpu, slowly
from ..syndromes import E2H, EL0, EL1, EL2, SYSTEM, TGE, trap_to
from ..sysregs import Encoding, stored, system_register
from ..timers import (
    FIRED,
    FREQUENCY,
    HYPERVISOR,
    HYPERVISOR_VIRTUAL,
    PHYSICAL,
    VIRTUAL,
    counter,
    fired,
    poll_timer,
    virtual_counter,
)  # fmt: skip

__all__ = ["trap_to_owner"]

# CNTKCTL_EL1, and CNTHCTL_EL2 with E2H and TGE: what EL0 may use.
PCTEN, VCTEN, VTEN, PTEN = 1 << 0, 1 << 1, 1 << 8, 1 << 9
# CNTHCTL_EL2 without E2H: what EL1 may use. With E2H the two bits stand ten higher.
EL1PCTEN, EL1PCEN = 1 << 0, 1 << 1


def _hosted(cpu: Cpu) -> Value:
    value: Value = (cpu.hcr & (E2H | TGE)) == E2H | TGE
    return value


def _for_el0(cpu: Cpu, bit: int, iss: Value) -> None:
    """Trap EL0 where the level above does not let it."""
    control = select(_hosted(cpu), cpu.cnthctl, cpu.cntkctl)
    with slowly((cpu.el == EL0) & ((control & bit) == 0)):
        trap_to_owner(cpu, iss)


def trap_to_owner(cpu: Cpu, iss: Value) -> None:
    """An access of EL0 that EL1, or a host at EL2, has not allowed."""
    from_host = _hosted(cpu)
    with slowly(from_host):
        trap_to(cpu, EL2, SYSTEM, iss)
    trap_to(cpu, EL1, SYSTEM, iss)


def _physical_for_el1(cpu: Cpu, bit: int, iss: Value) -> None:
    """Trap a guest's use of what is physical to EL2."""
    host = (cpu.hcr & E2H) != 0
    allowed = select(host, cpu.cnthctl.lsr(10), cpu.cnthctl) & bit
    guest = (cpu.el != EL2) & (cpu.el2_there == 1) & ~_hosted(cpu)
    with slowly(guest & (allowed == 0)):
        trap_to(cpu, EL2, SYSTEM, iss)


def _count_check(el0: int, physical: bool) -> object:
    def check(cpu: Cpu, writes: bool, iss: Value) -> None:
        _for_el0(cpu, el0, iss)
        if physical:
            _physical_for_el1(cpu, EL1PCTEN, iss)

    return check


def _frequency_check(cpu: Cpu, writes: bool, iss: Value) -> None:
    control = select(_hosted(cpu), cpu.cnthctl, cpu.cntkctl)
    with slowly((cpu.el == EL0) & ((control & (PCTEN | VCTEN)) == 0)):
        trap_to_owner(cpu, iss)


system_register(
    "cntfrq_el0", (3, 3, 14, 0, 0), lambda cpu: const(FREQUENCY, 64), check=_frequency_check
)
for _name, _op2, _read, _bit, _physical in (
    ("cntpct_el0", 1, counter, PCTEN, True),
    ("cntvct_el0", 2, virtual_counter, VCTEN, False),
    ("cntpctss_el0", 5, counter, PCTEN, True),
    ("cntvctss_el0", 6, virtual_counter, VCTEN, False),
):
    system_register(
        _name, (3, 3, 14, 0, _op2), _read,
        check=_count_check(_bit, _physical),  # type: ignore[arg-type]
    )  # fmt: skip

stored("cntkctl_el1", (3, 0, 14, 1, 0), 0x2_03FF, at="cntkctl")
stored("cntkctl_el12", (3, 5, 14, 1, 0), 0x2_03FF, at="cntkctl")
stored("cnthctl_el2", (3, 4, 14, 1, 0), 0xFFFFF, at="cnthctl")


def _write_offset(cpu: Cpu, value: Value) -> None:
    cpu.cntvoff = value
    poll_timer(cpu)


system_register("cntvoff_el2", (3, 4, 14, 0, 3), lambda cpu: cpu.cntvoff, _write_offset)


def _timer(name: str, timer: int, op1: int, crm: int, el0: int = 0) -> None:
    """CNTx_TVAL, CNTx_CTL and CNTx_CVAL (D11.2.4)."""
    virtual = timer == VIRTUAL

    def now(cpu: Cpu) -> Value:
        value: Value = counter(cpu) - cpu.cntvoff if virtual else counter(cpu)
        return value

    def check(cpu: Cpu, writes: bool, iss: Value) -> None:
        if el0:
            _for_el0(cpu, el0, iss)
        if timer == PHYSICAL and op1 == 3:
            _physical_for_el1(cpu, EL1PCEN, iss)

    def read_ctl(cpu: Cpu) -> Value:
        status = select(fired(cpu, timer, counter(cpu)), const(FIRED, 64), 0)
        control: Value = cpu.timer_ctl[timer].zext(64)
        return control | status

    def write_ctl(cpu: Cpu, value: Value) -> None:
        cpu.timer_ctl[timer] = (value & 3).trunc(8)
        poll_timer(cpu)

    def write_cval(cpu: Cpu, value: Value) -> None:
        cpu.timer_cval[timer] = value
        poll_timer(cpu)

    def read_tval(cpu: Cpu) -> Value:
        compare: Value = cpu.timer_cval[timer]
        return (compare - now(cpu)) & 0xFFFF_FFFF

    def write_tval(cpu: Cpu, value: Value) -> None:
        write_cval(cpu, now(cpu) + value.trunc(32).sext(64))

    for suffix, op2, read, write in (
        ("tval", 0, read_tval, write_tval),
        ("ctl", 1, read_ctl, write_ctl),
        ("cval", 2, lambda cpu: cpu.timer_cval[timer], write_cval),
    ):
        level = {3: "el0", 4: "el2", 5: "el02"}[op1]
        encoding: Encoding = (3, op1, 14, crm, op2)
        system_register(f"{name}_{suffix}_{level}", encoding, read, write, check=check)


_timer("cntp", PHYSICAL, 3, 2, PTEN)
_timer("cntv", VIRTUAL, 3, 3, VTEN)
_timer("cntp", PHYSICAL, 5, 2)
_timer("cntv", VIRTUAL, 5, 3)
_timer("cnthp", HYPERVISOR, 4, 2)
_timer("cnthv", HYPERVISOR_VIRTUAL, 4, 3)
