"""The processors that kernels are for, as files of all kinds name them."""

from __future__ import annotations

from msgspec import Struct

from bimetal.firmware.elf_machine import ElfMachine
from bimetal.firmware.linux_image import LinuxImage
from bimetal.firmware.linux_x86 import is_bzimage
from bimetal.firmware.unpack import Target

__all__ = ["AARCH64", "PROCESSORS", "RISCV", "X86_64", "FlatProcessor", "Processor"]


class Processor(Struct, frozen=True):
    """What programs have to be for: as ELF files and U-Boot's images name it. ``board`` is one with
    such a processor. Linux's kernels for it are a bzImage."""

    machine: ElfMachine
    target: Target
    board: str
    isa: str
    """The name of its instruction set."""

    @property
    def name(self) -> str:
        """The name for people."""
        return self.target.name

    def has_linux(self, data: bytes) -> bool:
        """Whether ``data`` begins like a Linux kernel for it."""
        return is_bzimage(data)

    @property
    def core_registers(self) -> tuple[str, ...]:
        """The registers in a core file, in the order of Linux's struct user_regs_struct; empty if
        there is no such file."""
        return CORE_REGISTERS.get(self.isa, ())


class FlatProcessor(Processor, frozen=True):
    """One for which Linux's kernels are a flat ``image``."""

    image: LinuxImage

    def has_linux(self, data: bytes) -> bool:
        return self.image.begins(data)


CORE_REGISTERS = {
    "aarch64": (*(f"x{number}" for number in range(31)), "sp", "pc", "pstate"),
    "riscv64": (
        *("pc", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1"),
        *(f"a{number}" for number in range(8)),
        *(f"s{number}" for number in range(2, 12)),
        *("t3", "t4", "t5", "t6"),
    ),
}

AARCH64 = FlatProcessor(
    ElfMachine((("EM_AARCH64", 64),), "AArch64", 4, 1027),
    Target("AArch64", (22,), ("arm64",), "linux,dummy-virt"),
    "arm-virt",
    "aarch64",
    LinuxImage(b"ARM\x64", 4, unsized_at=0x8_0000),
)
RISCV = FlatProcessor(
    ElfMachine((("EM_RISCV", 64),), "RISC-V", 2, 3, built="-march=rv64gc -mabi=lp64d"),
    Target("RISC-V", (26,), ("riscv",), "riscv-virtio"),
    "riscv-virt",
    "riscv64",
    LinuxImage(b"RSC\x05", 2),
)
# PVH starts kernels of 32 bits too, as the processor is in 32-bit mode then.
X86_64 = Processor(
    ElfMachine((("EM_X86_64", 64), ("EM_386", 32)), "x86-64", 1, 8),
    Target("x86-64", (3, 24), ("x86", "x86_64", "i386"), ""),
    "microvm",
    "x86_64",
)

PROCESSORS: tuple[Processor, ...] = (AARCH64, RISCV, X86_64)
