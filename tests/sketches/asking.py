"""A sketch of an instruction set that has I/O ports and registers of the board, and little else."""

from __future__ import annotations

from bimetal.ir.value import Value, const
from bimetal.isa.contract import PAGE, READ_OK, WRITE_OK, Architecture
from bimetal.isa.describe import Isa
from bimetal.isa.state import StateSpec
from bimetal.isa.text import named, number
from bimetal.isa.trace import Cpu

__all__ = ["architecture", "asking"]

NAMES = [f"r{n}" for n in range(16)]
_state = StateSpec()
_state.scalars(64, "pc", "cause")
_state.file("r", 16, 64, zero=0, names=NAMES)
_state.file("line", 1, 8)
asking = Isa("asking", _state, {"r": named(NAMES), "s": number(is_signed=True)}, granule=4, fetch=4)


@asking.insn("imm:16 ra:4 rd:4 00000001", "add {rd:r}, {ra:r}, {imm:s}")
def add(cpu: Cpu, imm: Value, ra: Value, rd: Value) -> None:
    cpu.r[rd] = cpu.r[ra] + imm.sext(64)


@asking.insn("imm:16 ra:4 rb:4 00000010", "store {rb:r}, {imm:s}({ra:r})")
def store(cpu: Cpu, imm: Value, ra: Value, rb: Value) -> None:
    cpu.store(cpu.r[ra] + imm.sext(64), cpu.r[rb])


@asking.insn("0000000000000000 ra:4 rd:4 00000011", "in {rd:r}, {ra:r}")
def port_in(cpu: Cpu, ra: Value, rd: Value) -> None:
    cpu.r[rd] = cpu.load_port(cpu.r[ra].trunc(16), 16).zext(64)


@asking.insn("0000000000000000 ra:4 rb:4 00000100", "out {ra:r}, {rb:r}")
def port_out(cpu: Cpu, ra: Value, rb: Value) -> None:
    cpu.store_port(cpu.r[ra].trunc(16), cpu.r[rb].trunc(8))


@asking.insn("0000000000000000 ra:4 rb:4 00000101", "sum {rb:r}, {ra:r}")
def port_sum(cpu: Cpu, ra: Value, rb: Value) -> None:
    """Two bytes of a port and a register of the board are added to memory."""
    first = cpu.load_port(cpu.r[ra].trunc(16), 8).zext(64)
    second = cpu.load_port(cpu.r[ra].trunc(16), 8).zext(64)
    third = cpu.load_board(7)
    cpu.store(cpu.r[rb], cpu.load(cpu.r[rb], 64) + first + second + third)


@asking.insn("0000000000000000 ra:4 rb:4 00000110", "tell {ra:r}, {rb:r}")
def tell(cpu: Cpu, ra: Value, rb: Value) -> None:
    cpu.store_board(cpu.r[ra], cpu.r[rb])


@asking.routine(returns=64, va=64, access=8)
def translate(cpu: Cpu, va: Value, access: Value) -> Value:
    page: Value = va & -PAGE | READ_OK | WRITE_OK
    return page


@asking.routine(returns=8)
def context(cpu: Cpu) -> Value:
    return const(0, 8)


@asking.routine(returns=8, current=8)
def user_context(cpu: Cpu, current: Value) -> Value:
    return current


@asking.routine(returns=64)
def address_space(cpu: Cpu) -> Value:
    return const(0, 64)


@asking.routine(returns=64)
def global_space(cpu: Cpu) -> Value:
    return const(0, 64)


@asking.routine()
def undefined(cpu: Cpu) -> None:
    cpu.trap(1)


@asking.routine(access=8, va=64)
def access_fault(cpu: Cpu, access: Value, va: Value) -> None:
    cpu.trap(2, va)


@asking.routine(access=8, va=64)
def misaligned(cpu: Cpu, access: Value, va: Value) -> None:
    cpu.trap(3, va)


@asking.routine(returns=64, cause=64, value=64)
def take_trap(cpu: Cpu, cause: Value, value: Value) -> Value:
    cpu.cause = cause
    return const(0x100, 64)


@asking.routine(returns=64)
def pending_interrupt(cpu: Cpu) -> Value:
    return const(0, 64)


@asking.routine(returns=1)
def wakes(cpu: Cpu) -> Value:
    high: Value = cpu.line[0] != 0
    return high


@asking.routine()
def poll_timer(cpu: Cpu) -> None:
    pass


@asking.routine()
def renew(cpu: Cpu) -> None:
    pass


@asking.routine(returns=8)
def mode(cpu: Cpu) -> Value:
    return const(0, 8)


architecture = Architecture(
    isa=asking,
    reset=lambda state, start: None,
    arguments=(("r", 1),),
    results=(("r", 1),),
    deadline=lambda state: None,
    modes={0: "only"},
    models=("asking",),
)
