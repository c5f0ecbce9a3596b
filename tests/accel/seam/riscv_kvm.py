"""KVM on RISC-V: the programs of the RISC-V bed, one mode further down."""

from __future__ import annotations

from bimetal.accel.kvm.host import create
from tests.accel.seam.riscv import A_HINT, RiscvBed

__all__ = ["KvmRiscvBed"]

IN_KERNEL = "KVM keeps a waiting hart in the kernel"
EBREAK_ONLY = "KVM on RISC-V stops only at ebreak instructions"
SUPERVISOR_EXTERNAL = 9


class KvmRiscvBed(RiscvBed):
    """Harts in VS-mode; the supervisor's external interrupt is the line."""

    line = SUPERVISOR_EXTERNAL
    mode, enabled = "s", 1 << 1

    def __init__(self) -> None:
        missing = {
            "halts": IN_KERNEL,
            "lasting halts": A_HINT,
            "single steps": EBREAK_ONLY,
            "breakpoints": EBREAK_ONLY,
            "watchpoints": EBREAK_ONLY,
            "second cpu": "a hart waits until the first one starts it",
        }
        super().__init__("kvm-riscv64", lambda cpus: create("riscv64", cpus=cpus), missing)
