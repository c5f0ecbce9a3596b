"""The order of a trace: what `check` accepts and what it names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bimetal.ir import fp
from bimetal.ir.check import check
from bimetal.ir.value import Block, Value, const, tracing
from bimetal.isa.describe import Insn
from bimetal.isa.riscv import rv64
from bimetal.isa.state import StateSpec
from bimetal.isa.trace import Cpu, Routine, ret, when

STATE = StateSpec()
STATE.file("x", 4, 64)
STATE.scalars(64, "pc", "status")
ADDRESS = const(0x1000, 64)


def traced(body: Callable[[Cpu, Value], None]) -> Block:
    block = Block()
    with tracing(block):
        body(Cpu(STATE), Value("field", 2, (), "n"))
    return block


def load_then_write(cpu: Cpu, n: Value) -> None:
    cpu.x[n] = cpu.load(ADDRESS, 64)


def write_then_load(cpu: Cpu, n: Value) -> None:
    cpu.status = const(1, 64)
    cpu.x[n] = cpu.load(ADDRESS, 64)


def two_stores(cpu: Cpu, n: Value) -> None:
    cpu.store(ADDRESS, const(0, 64))
    cpu.store(ADDRESS + 8, const(0, 64))


def trap_on_another_path(cpu: Cpu, n: Value) -> None:
    with when(cpu.status == 0) as zero:
        cpu.status = const(1, 64)
        with zero.otherwise():
            cpu.trap(2)


def trap_after_one_of_two_paths(cpu: Cpu, n: Value) -> None:
    with when(cpu.status == 0):
        cpu.status = const(1, 64)
    cpu.trap(2)


def trap_ends_the_path_that_wrote(cpu: Cpu, n: Value) -> None:
    with when(cpu.status == 0):
        cpu.trap(2)
    cpu.status = const(1, 64)


def flags_then_trap(cpu: Cpu, n: Value) -> None:
    fp.add(cpu.x[n], cpu.x[n])
    cpu.trap(2)


def read_after_write(cpu: Cpu, n: Value) -> None:
    cpu.x[n] = const(1, 64)
    cpu.status = cpu.x[n]


def write_after_jump(cpu: Cpu, n: Value) -> None:
    cpu.jump(ADDRESS)
    cpu.status = const(1, 64)


def write_behind_two_jumps(cpu: Cpu, n: Value) -> None:
    with when(cpu.status == 0) as zero:
        cpu.jump(ADDRESS)
        with zero.otherwise():
            cpu.jump(ADDRESS + 4)
    cpu.status = const(1, 64)


def write_beside_a_jump(cpu: Cpu, n: Value) -> None:
    with when(cpu.status == 0):
        cpu.jump(ADDRESS)
    cpu.status = const(1, 64)


def _may_trap(cpu: Cpu) -> None:
    with when(cpu.status == 0):
        ret()
    cpu.trap(2)


def _sets_status(cpu: Cpu) -> None:
    with when(cpu.status == 0):
        cpu.status = const(1, 64)
        ret()


MAY_TRAP = Routine(_may_trap, STATE, {}, 0)
SETS_STATUS = Routine(_sets_status, STATE, {}, 0)


def call_that_traps_then_write(cpu: Cpu, n: Value) -> None:
    MAY_TRAP(cpu)
    cpu.status = const(1, 64)


def call_that_writes_then_trap(cpu: Cpu, n: Value) -> None:
    SETS_STATUS(cpu)
    cpu.trap(2)


@pytest.mark.parametrize(
    "body",
    [
        load_then_write,
        trap_on_another_path,
        trap_ends_the_path_that_wrote,
        call_that_traps_then_write,
        write_beside_a_jump,
    ],
)
def test_accepts(body: Callable[[Cpu, Value], None]) -> None:
    assert check(traced(body)) == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (write_then_load, "load may fault after set status"),
        (two_stores, "store may fault after store"),
        (trap_after_one_of_two_paths, "trap may fault after set status"),
        (flags_then_trap, "trap may fault after fadd"),
        (read_after_write, "x is read after a write to it"),
        (call_that_writes_then_trap, "trap may fault after set status"),
        (write_after_jump, "set after the jump never happens"),
        (write_behind_two_jumps, "set after the jump never happens"),
    ],
)
def test_names(body: Callable[[Cpu, Value], None], problem: str) -> None:
    assert check(traced(body)) == [problem]


def test_restartable_may_fault_late() -> None:
    assert check(traced(two_stores), restartable=True) == []


def test_derived_registers_may_change() -> None:
    assert check(traced(write_then_load), derived=frozenset(("status",))) == []


@pytest.mark.parametrize("insn", rv64.insns, ids=lambda insn: insn.name)
def test_riscv_descriptions_are_in_order(insn: Insn) -> None:
    for block in insn.variants().values():
        assert check(block, insn.restartable, derived=frozenset(("timer_fired",))) == []
