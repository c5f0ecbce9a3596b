"""Exception generation and return (C4.1.93.2), and MSR (immediate)."""

from __future__ import annotations

from ....ir.value import Value, const
from ...trace import Cpu, slowly, when
from ..debug import goes_to_el2
from ..exceptions import BY_HVC, BY_SMC, leave_handler
from ..hosts import ruling_control
from ..registers.control import UMA, select_stack
from ..state import a64
from ..syndromes import (
    BREAKPOINT_INSTRUCTION,
    EL0,
    HVC,
    SMC,
    SVC,
    refused,
    syndrome,
    trap_to_el2,
    trapped_by_hypervisor,
    undefined,
)  # fmt: skip

TSC = 1 << 19  # of HCR_EL2: SMC is EL2's
HCD = 1 << 29  # of HCR_EL2: there is no HVC
ASKS_HOST = 0xF000


@a64.insn("11010100 000 imm:16 000 01", "svc {imm:ix}")
def svc(cpu: Cpu, imm: Value) -> None:
    cpu.trap(syndrome(SVC, imm.zext(64)))


@a64.insn("11010100 000 imm:16 000 10", "hvc {imm:ix}")
def hvc(cpu: Cpu, imm: Value) -> None:
    with slowly(cpu.el == EL0):
        undefined(cpu)
    with when(cpu.firmware_calls == BY_HVC) as firmware:
        cpu.leave("firmware call")
        with firmware.otherwise():
            with when((cpu.el2_there == 0) | ((cpu.hcr & HCD) != 0)):
                undefined(cpu)
            trap_to_el2(cpu, HVC, imm.zext(64))


@a64.insn("11010100 000 imm:16 000 11", "smc {imm:ix}")
def smc(cpu: Cpu, imm: Value) -> None:
    with slowly(cpu.el == EL0):
        undefined(cpu)
    trapped_by_hypervisor(cpu, TSC, imm.zext(64), SMC)
    with when(cpu.firmware_calls == BY_SMC) as firmware:
        cpu.leave("firmware call")
        with firmware.otherwise():
            undefined(cpu)


@a64.insn("11010100 001 imm:16 000 00", "brk {imm:ix}")
def brk(cpu: Cpu, imm: Value) -> None:
    with when(goes_to_el2(cpu)):
        trap_to_el2(cpu, BREAKPOINT_INSTRUCTION, imm.zext(64))
    cpu.trap(syndrome(BREAKPOINT_INSTRUCTION, imm.zext(64)))


@a64.insn("11010100 010 imm:16 000 00", "hlt {imm:ix}")
def hlt(cpu: Cpu, imm: Value) -> None:
    # There is no external debugger for halting debug (H2.4). At every exception level the immediate
    # of semihosting makes a call to the host (Semihosting, 4.2).
    with when((imm == ASKS_HOST) & (cpu.semihosting == 1)) as call:
        cpu.leave("semihosting", cpu.pc)
        with call.otherwise():
            undefined(cpu)


@a64.insn("1101011 0 100 11111 0000 0 0 11111 00000", "eret")
def eret(cpu: Cpu) -> None:
    with slowly(cpu.el == EL0):
        undefined(cpu)
    cpu.sync()
    cpu.jump(leave_handler(cpu))


def _pstate(name: str, op1: int, op2: int, at: str) -> None:
    """MSR (immediate): a field of PSTATE that is one bit (C5.2)."""

    @a64.insn(
        f"1101010100 0 00 {op1:03b} 0100 imm:4 {op2:03b} 11111",
        f"msr {name}, {{imm:i}}",
        extension=name,
    )
    def meaning(cpu: Cpu, imm: Value) -> None:
        if op1 == 0:
            with slowly(cpu.el == EL0):
                undefined(cpu)
        setattr(cpu, at, (imm & 1).zext(8))
        cpu.sync()


_pstate("uao", 0, 3, "uao")
_pstate("pan", 0, 4, "pan")
_pstate("ssbs", 3, 1, "ssbs")
_pstate("dit", 3, 2, "dit")


@a64.insn("1101010100 0 00 000 0100 imm:4 101 11111", "msr spsel, {imm:i}")
def msr_spsel(cpu: Cpu, imm: Value) -> None:
    with slowly(cpu.el == EL0):
        undefined(cpu)
    select_stack(cpu, (imm & 1).zext(8))


def _daif(name: str, op2: int) -> None:
    @a64.insn(f"1101010100 0 00 011 0100 imm:4 {op2:03b} 11111", f"msr {name}, {{imm:i}}")
    def meaning(cpu: Cpu, imm: Value) -> None:
        with slowly((cpu.el == EL0) & ((ruling_control(cpu) & UMA) == 0)):
            iss = op2 << 17 | 3 << 14 | 4 << 10 | 0x1F << 5
            refused(cpu, const(iss, 64) | imm.zext(64) << 1)
        bits = imm.zext(8)
        cpu.daif = cpu.daif | bits if name == "daifset" else cpu.daif & ~bits
        if name == "daifclr":
            cpu.sync()


_daif("daifset", 6)
_daif("daifclr", 7)
