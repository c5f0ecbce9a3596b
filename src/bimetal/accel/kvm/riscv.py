"""RISC-V under KVM (api.rst, 4.68 "RISC-V register IDs"; arch/riscv/include/uapi/asm/kvm.h).

A guest runs in VS-mode from its first instruction; KVM answers most SBI calls itself. Not
modelled: the in-kernel interrupt controller (AIA).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from bimetal.accel.kvm import abi
from bimetal.accel.kvm.abi import ExitReason, Run, iow
from bimetal.accel.kvm.device import Device
from bimetal.accel.kvm.one_reg import RUNNABLE, STOPPED, U64, OneRegCpu
from bimetal.accel.kvm.vm import KvmMachine
from bimetal.base.errors import BimetalError
from bimetal.seam import DebugRequest, DebugStop, Exit

__all__ = ["RiscvCpu", "RiscvMachine"]

RISCV = 0x8 << 60 | U64
CORE, CSR, SBI_EXTENSION = RISCV | 2 << 24, RISCV | 3 << 24, RISCV | 8 << 24

CORE_NAMES = (
    "pc ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 "
    "s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6 mode"
).split()
CSR_NAMES = "sstatus sie stvec sscratch sepc scause stval sip satp scounteren".split()

SUPERVISOR_EXTERNAL: Final = 9
INTERRUPT_SET, INTERRUPT_UNSET = 0xFFFF_FFFF, 0xFFFF_FFFE
SBI_EXIT = struct.Struct("<QQ6Q2Q")
"""extension, function, a0 to a5, and the two results"""
SBI_RESULTS_AT = Run.UNION + 64
RESET_EXTENSION, SHUTDOWN, COLD_REBOOT, NO_REASON, FAILURE = 0x5352_5354, 0, 1, 0, 1
SET_GUEST_DEBUG = iow(0x9B, 8)
CONSOLE_EXTENSION = 9
"""The debug console (DBCN), by KVM's own numbering of extensions: off unless it is asked for."""


class RiscvCpu(OneRegCpu):
    """A RISC-V hart. Line 9, the supervisor's external interrupt, is the only one from outside."""

    NUMBERS = {name: CORE | place for place, name in enumerate(CORE_NAMES)} | {
        name: CSR | place for place, name in enumerate(CSR_NAMES)
    }

    def _start_up(self) -> None:
        state = STOPPED if self.index else RUNNABLE
        self.handle.ioctl(abi.SET_MP_STATE, bytearray(abi.U32.pack(state)))
        try:
            self.write_number(SBI_EXTENSION | CONSOLE_EXTENSION, 1)
        except OSError:
            self.events.unimplemented("the SBI's debug console, by this kernel's KVM")

    def set_line(self, line: int, level: bool) -> None:
        """Drive the supervisor's external interrupt."""
        if line != SUPERVISOR_EXTERNAL:
            raise ValueError(f"KVM drives line {SUPERVISOR_EXTERNAL} of a hart, not {line}")
        value = INTERRUPT_SET if level else INTERRUPT_UNSET
        self.handle.ioctl(abi.INTERRUPT, bytearray(abi.U32.pack(value)))

    def set_debug(self, request: DebugRequest) -> None:
        """The guest's own ``ebreak`` and nothing else: KVM has no single step on RISC-V."""
        if request.step or request.breakpoints or request.watchpoints:
            raise BimetalError(
                "KVM on RISC-V stops only at ebreak instructions",
                "put one into the guest's memory, and ask for software breakpoints",
            )
        flags = abi.GUESTDBG_ENABLE | abi.GUESTDBG_USE_SW_BP
        control = flags if request.software_breakpoints else 0
        self.handle.ioctl(SET_GUEST_DEBUG, bytearray(struct.pack("<II", control, 0)))

    def _exit_handlers(self) -> dict[int, Callable[[], Exit | None]]:
        return super()._exit_handlers() | {
            ExitReason.RISCV_SBI: self._on_sbi,
            ExitReason.SYSTEM_EVENT: self._on_system_event,
            ExitReason.DEBUG: self._on_debug,
            ExitReason.RISCV_CSR: lambda: self.fault("the guest uses a CSR that nobody models"),
        }

    def _on_sbi(self) -> Exit:
        extension, function, *args = SBI_EXIT.unpack_from(self._run, Run.UNION)
        self._call.args, self._call.results = (*args[:6], function, extension), ()
        self._called = True
        return self._call

    def _write_results(self, results: tuple[int, ...]) -> None:
        for place, value in enumerate(results[:2]):
            abi.U64.pack_into(self._run, SBI_RESULTS_AT + 8 * place, value & (1 << 64) - 1)

    def _on_system_event(self) -> Exit:
        """KVM took a system reset call itself; the board hears of it as if it had come here."""
        kind, *_ = abi.SYSTEM_EVENT_EXIT.unpack_from(self._run, Run.UNION)
        action = COLD_REBOOT if kind == abi.SYSTEM_EVENT_RESET else SHUTDOWN
        reason = FAILURE if kind == abi.SYSTEM_EVENT_CRASH else NO_REASON
        self._call.args = (action, reason, 0, 0, 0, 0, 0, RESET_EXTENSION)
        self._call.results = ()
        return self._call

    def _on_debug(self) -> Exit:
        return DebugStop(self.read_register("pc"), "breakpoint")


class RiscvMachine(KvmMachine):
    """A RISC-V machine without an interrupt controller in the kernel."""

    def __init__(self, device: Device, cpus: int = 1, *, model: str = "host"):
        self.check_model(model)
        super().__init__(device, cpus)

    def _set_up(self) -> None:
        """Nothing but CPUs and memory."""

    def _create_cpu(self, index: int) -> RiscvCpu:
        return RiscvCpu(self, index)
