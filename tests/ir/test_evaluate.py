"""Evaluation: control, variables, routines, memory, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bimetal.accel.reference import Guest, Registers
from bimetal.ir.evaluate import Trap, call, evaluate
from bimetal.ir.softfloat import Environment
from bimetal.ir.value import Block, DescriptionError, Value, const, tracing
from bimetal.isa.state import StateSpec
from bimetal.isa.trace import Cpu, Routine, ret, when
from tests.agree.executors import Window
from tests.agree.state import DATA

STATE = StateSpec()
STATE.scalars(64, "pc")
STATE.file("x", 4, 64, zero=0)


def machine() -> Guest:
    return Guest(Registers(STATE), Window(bytes(64)), 0x1000, Environment())


def run(body: Callable[[Cpu], None], guest: Guest) -> tuple[int | None, int]:
    block = Block()
    with tracing(block):
        body(Cpu(STATE, 4))
    return evaluate(block, {}, guest)


def test_jumps_are_returned() -> None:
    guest = machine()
    assert run(lambda cpu: cpu.jump(cpu.next_pc + 8), guest) == (0x100C, 0)
    assert run(lambda cpu: cpu.jump(cpu.x[1], landing=2), guest) == (0, 2)
    assert run(lambda cpu: cpu.fence(), guest) == (None, 0)


def test_variables_leave_their_block() -> None:
    def body(cpu: Cpu) -> None:
        smaller = cpu.local(cpu.x[1])
        with when(cpu.x[2].ult(cpu.x[1])) as less:
            smaller.set(cpu.x[2])
            with less.otherwise():
                cpu.x[3] = const(9, 64)
        cpu.x[1] = smaller.value

    guest = machine()
    guest.set("x", 1, 7)
    guest.set("x", 2, 5)
    run(body, guest)
    assert (guest.get("x", 1), guest.get("x", 3)) == (5, 0)
    run(body, guest)
    assert (guest.get("x", 1), guest.get("x", 3)) == (5, 9)


def test_routines_return_early() -> None:
    def body(cpu: Cpu, n: Value) -> Value:
        with when(n == 0):
            ret(const(1, 64))
        return n * factorial(cpu, n - 1)

    factorial = Routine(body, STATE, {"n": 64}, 64)
    assert call(factorial, machine(), 20) == 2432902008176640000


def test_zero_register_takes_no_value() -> None:
    guest = machine()
    guest.set("x", 0, 5)
    assert guest.get("x", 0) == 0


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ("xchg", 0x0F), ("add", 0x0E), ("sub", 0xF0), ("and", 0x0F), ("or", 0xFF), ("xor", 0xF0),
        ("min", 0xFF), ("max", 0x0F), ("umin", 0x0F), ("umax", 0xFF),
    ],
)  # fmt: skip
def test_atomic_updates(operation: str, result: int) -> None:
    guest = machine()
    guest.memory = Window(b"\xff" + bytes(63))

    def body(cpu: Cpu) -> None:
        cpu.x[1] = cpu.amo(operation, const(DATA, 64), const(0x0F, 8)).zext(64)
        cpu.x[2] = cpu.load(const(DATA, 64), 8).zext(64)

    run(body, guest)
    assert (guest.get("x", 1), guest.get("x", 2)) == (0xFF, result)


def test_traps_end_the_instruction() -> None:
    def body(cpu: Cpu) -> None:
        cpu.trap(5, cpu.pc)
        cpu.x[1] = const(1, 64)

    guest = machine()
    with pytest.raises(Trap) as raised:
        run(body, guest)
    assert (raised.value.cause, raised.value.value, guest.get("x", 1)) == (5, 0x1000, 0)


@pytest.mark.parametrize("shift", [lambda v, n: v << n, Value.lsr, Value.asr])
def test_shifts_by_the_width_are_refused(shift: Callable[[Value, Value], Value]) -> None:
    """LLVM does not say what they give, so no description may make one."""

    def body(cpu: Cpu) -> None:
        cpu.x[1] = shift(cpu.x[2], cpu.x[3])

    guest = machine()
    guest.set("x", 3, 64)
    with pytest.raises(ValueError, match="of 64 bits by 64"):
        run(body, guest)


def test_the_engines_own_operations_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="instret of the engine"):
        run(lambda cpu: cpu.x.__setitem__(1, cpu.host("instret", 64)), machine())


@pytest.mark.parametrize(("question", "width"), [("ticks", 64), ("instret", 32), ("flush", 1)])
def test_what_the_engine_does_not_answer_is_not_asked(question: Any, width: int) -> None:
    with pytest.raises(DescriptionError, match=f"no '{question}' with {width} bits"):
        run(lambda cpu: cpu.x.__setitem__(1, cpu.host(question, width).zext(64)), machine())
