"""KVM on RISC-V: the programs of the RISC-V bed, one mode further down."""

from __future__ import annotations

from bimetal.accel.kvm.host import create
from bimetal.seam import Accelerator, Cpu
from tests.accel.seam.bed import Board, text_of
from tests.accel.seam.guests import Program
from tests.accel.seam.riscv import A_HINT, PER_CPU, RiscvBed, code, text

__all__ = ["KvmRiscvBed"]

IN_KERNEL = "KVM keeps a waiting hart in the kernel"
EBREAK_ONLY = "KVM on RISC-V stops only at ebreak instructions"
SUPERVISOR_EXTERNAL = 9


class KvmRiscvBed(RiscvBed):
    """Harts in VS-mode; the supervisor's external interrupt is the line."""

    line = SUPERVISOR_EXTERNAL
    scratch = "s11"

    def __init__(self) -> None:
        missing = {
            "halts": IN_KERNEL,
            "lasting halts": A_HINT,
            "single steps": EBREAK_ONLY,
            "breakpoints": EBREAK_ONLY,
            "watchpoints": EBREAK_ONLY,
            "second cpu": "a hart waits until the first one starts it",
        }
        super().__init__("kvm-riscv64", lambda cpus: self.accelerator(cpus), missing)

    def accelerator(self, cpus: int) -> Accelerator:
        return create("riscv64", cpus=cpus)

    def prepare(self, board: Board, cpu: Cpu, program: Program) -> None:
        start = self.entry(cpu.index)
        board.write(start, code(text_of(program.steps, text), start))
        cpu.write_register("pc", start)
        if program.handler:
            handler = start + PER_CPU // 2
            board.write(handler, code([*text_of(program.handler, text), "sret"], handler))
            cpu.write_register("stvec", handler)
            cpu.write_register("sie", 1 << SUPERVISOR_EXTERNAL)
            cpu.write_register("sstatus", cpu.read_register("sstatus") | 1 << 1)
