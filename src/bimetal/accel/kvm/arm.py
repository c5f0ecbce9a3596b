"""64-bit Arm under KVM (api.rst, "arm64 register IDs"; arch/arm64/include/uapi/asm/kvm.h).

System registers are numbered by their encoding op0, op1, CRn, CRm, op2 (Arm ARM, chapter D19).
KVM answers PSCI calls itself; power-off and reset come out as the calls they were. Not modelled
yet: the interrupt controller in the kernel (GIC), debug registers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from bimetal.accel.kvm import abi
from bimetal.accel.kvm.abi import ExitReason, Run, ior, iow
from bimetal.accel.kvm.device import Device
from bimetal.accel.kvm.one_reg import U32, U64, U128, OneRegCpu
from bimetal.accel.kvm.vm import KvmMachine
from bimetal.base.errors import BimetalError
from bimetal.seam import DebugRequest, DebugStop, Exit

__all__ = ["ArmCpu", "ArmMachine", "system_register"]

ARM64 = 0x6 << 60
CORE = ARM64 | 0x10 << 16
SYSTEM = ARM64 | U64 | 0x13 << 16
VECTORS_AT, FPSR_AT, FPCR_AT = 336, 848, 852
"""Byte offsets in ``struct kvm_regs`` of the SIMD registers and their status and control."""

VCPU_INIT_SIZE = 32
PREFERRED_TARGET, VCPU_INIT = ior(0xAF, VCPU_INIT_SIZE), iow(0xAE, VCPU_INIT_SIZE)
POWER_OFF, PSCI_0_2 = 1 << 0, 1 << 2
FEATURES_AT = 4

GUEST_DEBUG_SIZE = 8 + 8 * 64
SET_GUEST_DEBUG = iow(0x9B, GUEST_DEBUG_SIZE)

LINE_OF_CPU = 0
IRQ_LINE, FIQ_LINE = 0, 1
SYSTEM_OFF, SYSTEM_RESET = 0x8400_0008, 0x8400_0009


def core(offset: int, size: int = U64) -> int:
    """The number of the register at a byte offset of ``struct kvm_regs``."""
    return CORE | size | offset // 4


def system_register(op0: int, op1: int, crn: int, crm: int, op2: int) -> int:
    """The number of the system register of this encoding."""
    return SYSTEM | op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2


SYSTEM_REGISTERS = {
    "mpidr_el1": (3, 0, 0, 0, 5),
    "sctlr_el1": (3, 0, 1, 0, 0),
    "cpacr_el1": (3, 0, 1, 0, 2),
    "ttbr0_el1": (3, 0, 2, 0, 0),
    "ttbr1_el1": (3, 0, 2, 0, 1),
    "tcr_el1": (3, 0, 2, 0, 2),
    "esr_el1": (3, 0, 5, 2, 0),
    "far_el1": (3, 0, 6, 0, 0),
    "mair_el1": (3, 0, 10, 2, 0),
    "vbar_el1": (3, 0, 12, 0, 0),
    "tpidr_el1": (3, 0, 13, 0, 4),
    "tpidr_el0": (3, 3, 13, 0, 2),
}


class ArmCpu(OneRegCpu):
    """An Arm vCPU. Lines 0 and 1 are IRQ and FIQ."""

    NUMBERS = (
        {f"x{number}": core(8 * number) for number in range(31)}
        | {"sp_el0": core(248), "pc": core(256), "pstate": core(264)}
        | {"sp_el1": core(272), "elr_el1": core(280), "spsr_el1": core(288)}
        | {name: system_register(*place) for name, place in SYSTEM_REGISTERS.items()}
        | {f"v{number}": core(VECTORS_AT + 16 * number, U128) for number in range(32)}
        | {"fpsr": core(FPSR_AT, U32), "fpcr": core(FPCR_AT, U32)}
    )

    vm: ArmMachine
    _stepping = False

    def _start_up(self) -> None:
        init = bytearray(self.vm.target)
        features = PSCI_0_2 | (POWER_OFF if self.index else 0)
        init[FEATURES_AT : FEATURES_AT + 4] = features.to_bytes(4, "little")
        self.handle.ioctl(VCPU_INIT, init)

    def set_line(self, line: int, level: bool) -> None:
        """Drive IRQ or FIQ."""
        if line not in (IRQ_LINE, FIQ_LINE):
            raise ValueError(f"an Arm CPU has lines 0 (IRQ) and 1 (FIQ), not {line}")
        irq = LINE_OF_CPU << 24 | self.index << 16 | line
        self.vm.handle.ioctl(abi.IRQ_LINE, abi.IRQ_LEVEL.new(irq=irq, level=int(level)))

    def set_debug(self, request: DebugRequest) -> None:
        """Single steps and the guest's own ``brk``."""
        if request.breakpoints or request.watchpoints:
            raise BimetalError(
                "debug registers of Arm are not used yet", "put brk instructions into memory"
            )
        control = abi.GUESTDBG_SINGLESTEP if request.step else 0
        control |= abi.GUESTDBG_USE_SW_BP if request.software_breakpoints else 0
        control |= abi.GUESTDBG_ENABLE if control else 0
        argument = bytearray(GUEST_DEBUG_SIZE)
        argument[0:4] = control.to_bytes(4, "little")
        self.handle.ioctl(SET_GUEST_DEBUG, argument)
        self._stepping = request.step

    def _exit_handlers(self) -> dict[int, Callable[[], Exit | None]]:
        return super()._exit_handlers() | {
            ExitReason.SYSTEM_EVENT: self._on_system_event,
            ExitReason.DEBUG: self._on_debug,
            ExitReason.ARM_NISV: self._on_no_syndrome,
        }

    def _on_system_event(self) -> Exit:
        """KVM took a PSCI call itself; the board hears of it as if it had come here."""
        kind, *_ = abi.SYSTEM_EVENT_EXIT.unpack_from(self._run, Run.UNION)
        call = SYSTEM_RESET if kind == abi.SYSTEM_EVENT_RESET else SYSTEM_OFF
        self._call.args, self._call.results = (call, 0, 0, 0), ()
        return self._call

    def _on_debug(self) -> Exit:
        return DebugStop(self.read_register("pc"), "step" if self._stepping else "breakpoint")

    def _on_no_syndrome(self) -> Exit:
        """An access to a device by an instruction that the processor does not take apart."""
        _, address = struct.unpack_from("<QQ", self._run, Run.UNION)
        return self.fault(f"an instruction that KVM cannot emulate accesses {address:#x}")


class ArmMachine(KvmMachine):
    """An Arm machine without an interrupt controller in the kernel."""

    target: bytes

    def __init__(self, device: Device, cpus: int = 1, *, model: str = "host"):
        self.check_model(model)
        super().__init__(device, cpus)

    def _set_up(self) -> None:
        self.target = bytes(self.handle.read(PREFERRED_TARGET, VCPU_INIT_SIZE))

    def _create_cpu(self, index: int) -> ArmCpu:
        return ArmCpu(self, index)
