"""Registers of the generic timers (D11, D17.11)."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.value import Value, const, select
from ...trace import Cpu, slowly, when
from ..hosts import hosted, hosts
from ..syndromes import E2H, EL0, EL1, EL2, SYSTEM, refused, trap_to_el2, undefined
from ..sysregs import Encoding, Read, Write, stored, system_register
from ..timers import (
    FIRED,
    HYPERVISOR,
    HYPERVISOR_VIRTUAL,
    PHYSICAL,
    VIRTUAL,
    counter,
    fired,
    poll_timer,
    virtual_counter,
)  # fmt: skip

__all__: list[str] = []

# CNTKCTL_EL1, and CNTHCTL_EL2 with E2H and TGE: what EL0 may use.
PCTEN, VCTEN, VTEN, PTEN = 1 << 0, 1 << 1, 1 << 8, 1 << 9
# CNTHCTL_EL2 without E2H: what EL1 may use. With E2H the two bits stand ten higher.
EL1PCTEN, EL1PCEN = 1 << 0, 1 << 1
# What these two registers keep.
CNTKCTL, CNTHCTL = 0x2_03FF, 0xFFFFF


def _for_el0(cpu: Cpu, bit: int, iss: Value) -> None:
    """Trap EL0 where the level above does not let it."""
    control = select(hosted(cpu), cpu.cnthctl, cpu.cntkctl)
    with slowly((cpu.el == EL0) & ((control & bit) == 0)):
        refused(cpu, iss)


def _physical_for_el1(cpu: Cpu, bit: int, iss: Value) -> None:
    """Trap a guest's use of what is physical to EL2."""
    host = (cpu.hcr & E2H) != 0
    allowed = select(host, cpu.cnthctl.lsr(10), cpu.cnthctl) & bit
    guest = (cpu.el != EL2) & (cpu.el2_there == 1) & ~hosted(cpu)
    with slowly(guest & (allowed == 0)):
        trap_to_el2(cpu, SYSTEM, iss)


def _count_check(el0: int, physical: bool) -> object:
    def check(cpu: Cpu, writes: bool, iss: Value) -> None:
        _for_el0(cpu, el0, iss)
        if physical:
            _physical_for_el1(cpu, EL1PCTEN, iss)

    return check


def _frequency_check(cpu: Cpu, writes: bool, iss: Value) -> None:
    if writes:
        highest = select(cpu.el2_there == 1, const(EL2, 8), EL1)
        with slowly(cpu.el != highest):
            undefined(cpu)
        return
    control = select(hosted(cpu), cpu.cnthctl, cpu.cntkctl)
    with slowly((cpu.el == EL0) & ((control & (PCTEN | VCTEN)) == 0)):
        refused(cpu, iss)


def _write_frequency(cpu: Cpu, value: Value) -> None:
    """What firmware tells software; it changes nothing else (D17.11.9)."""
    cpu.cntfrq = value & 0xFFFF_FFFF


system_register(
    "cntfrq_el0", (3, 3, 14, 0, 0), lambda cpu: cpu.cntfrq, _write_frequency,
    check=_frequency_check,
)  # fmt: skip
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


def _host_el2(cpu: Cpu) -> Value:
    value: Value = (cpu.el == EL2) & ((cpu.hcr & E2H) != 0)
    return value


def _read_cntkctl(cpu: Cpu) -> Value:
    return select(_host_el2(cpu), cpu.cnthctl, cpu.cntkctl)


def _write_cntkctl(cpu: Cpu, value: Value) -> None:
    with when(_host_el2(cpu)) as host:
        cpu.cnthctl = value & CNTHCTL
        with host.otherwise():
            cpu.cntkctl = value & CNTKCTL


system_register("cntkctl_el1", (3, 0, 14, 1, 0), _read_cntkctl, _write_cntkctl)
stored("cntkctl_el12", (3, 5, 14, 1, 0), CNTKCTL, at="cntkctl")
stored("cnthctl_el2", (3, 4, 14, 1, 0), CNTHCTL, at="cnthctl")


def _write_offset(cpu: Cpu, value: Value) -> None:
    cpu.cntvoff = value
    poll_timer(cpu)


system_register("cntvoff_el2", (3, 4, 14, 0, 3), lambda cpu: cpu.cntvoff, _write_offset)


def _timer(
    name: str, timer: int, op1: int, crm: int, el0: int = 0, host: int | None = None
) -> None:
    """CNTx_TVAL, CNTx_CTL and CNTx_CVAL (D11.2.4) of a timer; a host at EL2, and what it runs at
    EL0, find the timer ``host`` there instead."""

    def check(cpu: Cpu, writes: bool, iss: Value) -> None:
        if el0:
            _for_el0(cpu, el0, iss)
        if timer == PHYSICAL and op1 == 3:
            _physical_for_el1(cpu, EL1PCEN, iss)

    for suffix, op2, read, write in (
        ("tval", 0, _read_tval, _write_tval),
        ("ctl", 1, _read_ctl, _write_ctl),
        ("cval", 2, _read_cval, _write_cval),
    ):
        level = {3: "el0", 4: "el2", 5: "el02"}[op1]
        encoding: Encoding = (3, op1, 14, crm, op2)
        system_register(
            f"{name}_{suffix}_{level}", encoding, _reading(read, timer, host),
            _writing(write, timer, host), check=check,
        )  # fmt: skip


def _reading(read: Callable[[Cpu, int], Value], timer: int, host: int | None) -> Read:
    def access(cpu: Cpu) -> Value:
        if host is None:
            return read(cpu, timer)
        return select(hosts(cpu), read(cpu, host), read(cpu, timer))

    return access


def _writing(write: Callable[[Cpu, int, Value], None], timer: int, host: int | None) -> Write:
    def access(cpu: Cpu, value: Value) -> None:
        if host is None:
            write(cpu, timer, value)
        else:
            with when(hosts(cpu)) as at_host:
                write(cpu, host, value)
                with at_host.otherwise():
                    write(cpu, timer, value)
        poll_timer(cpu)

    return access


def _now(cpu: Cpu, timer: int) -> Value:
    value: Value = counter(cpu) - cpu.cntvoff if timer == VIRTUAL else counter(cpu)
    return value


def _read_ctl(cpu: Cpu, timer: int) -> Value:
    status = select(fired(cpu, timer, counter(cpu)), const(FIRED, 64), 0)
    control: Value = cpu.timer_ctl[timer].zext(64)
    return control | status


def _write_ctl(cpu: Cpu, timer: int, value: Value) -> None:
    cpu.timer_ctl[timer] = (value & 3).trunc(8)


def _read_cval(cpu: Cpu, timer: int) -> Value:
    value: Value = cpu.timer_cval[timer]
    return value


def _write_cval(cpu: Cpu, timer: int, value: Value) -> None:
    cpu.timer_cval[timer] = value


def _read_tval(cpu: Cpu, timer: int) -> Value:
    compare: Value = cpu.timer_cval[timer]
    return (compare - _now(cpu, timer)) & 0xFFFF_FFFF


def _write_tval(cpu: Cpu, timer: int, value: Value) -> None:
    cpu.timer_cval[timer] = _now(cpu, timer) + value.trunc(32).sext(64)


_timer("cntp", PHYSICAL, 3, 2, PTEN, host=HYPERVISOR)
_timer("cntv", VIRTUAL, 3, 3, VTEN, host=HYPERVISOR_VIRTUAL)
_timer("cntp", PHYSICAL, 5, 2)
_timer("cntv", VIRTUAL, 5, 3)
_timer("cnthp", HYPERVISOR, 4, 2)
_timer("cnthv", HYPERVISOR_VIRTUAL, 4, 3)
