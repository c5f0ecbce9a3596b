"""The instruction sets that are compared: the machine of each under both emulators."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["AMD64", "ARM64", "NATIVE", "RISCV64", "TARGETS", "Compiler", "Target"]

_BARE = (
    "-O2 -Wall -Wextra -Wno-parentheses -Werror"
    " -ffreestanding -fno-math-errno -fno-pic -fno-tree-loop-distribute-patterns"
    " -nostdlib -static -no-pie -Wl,--build-id=none -Wl,--no-warn-rwx-segments"
).split()


@dataclass(frozen=True)
class Compiler:
    """How a program is made from sources in ``bench/guests/``: ``shared`` ones, which are no
    programs themselves, and those of ``folder``."""

    folder: str
    command: str
    options: Sequence[str]
    shared: Sequence[str]


@dataclass(frozen=True)
class Target:
    """A kind of guest: its ``name``, which is Debian's, how programs are compiled for it, our
    board and the catalogue's guest, and the machine of QEMU's that is the same. ``bios`` is what
    both are told where a program is to start without an operating system, if anything, and
    ``memory`` is the guest's in the words of both."""

    name: str
    compiler: Compiler
    board: str
    guest: str
    qemu: Sequence[str]
    bios: str = ""
    memory: str = "512M"

    def bare(self, program: Path, options: Sequence[str] = ()) -> list[str]:
        """Our command for a program without an operating system."""
        bios = ["--bios", self.bios] if self.bios else []
        return [*self.ours, *options, *bios, "--kernel", str(program)]

    def bare_theirs(self, program: Path) -> list[str]:
        """QEMU's."""
        bios = ["-bios", self.bios] if self.bios else []
        return [*self.theirs, *bios, "-kernel", str(program)]

    @property
    def ours(self) -> list[str]:
        """The beginning of our command."""
        command = [sys.executable, "-m", "bimetal", "run"]
        return [*command, "--board", self.board, "--memory", self.memory, "--net", "none"]

    @property
    def theirs(self) -> list[str]:
        """The beginning of QEMU's."""
        return [*self.qemu, "-accel", "tcg", "-m", self.memory, "-nographic", "-nic", "none"]


RISCV64 = Target(
    "riscv64",
    Compiler(
        "riscv64",
        "riscv64-linux-gnu-gcc",
        [*_BARE, "-march=rv64gc", "-mabi=lp64d", "-mcmodel=medany"],
        ("riscv64/start.S", "riscv64/board.c", "runtime.c", "memory.c"),
    ),
    board="riscv-virt",
    guest="debian-riscv64",
    qemu=("qemu-system-riscv64", "-M", "virt"),
    bios="none",
)
ARM64 = Target(
    "arm64",
    Compiler(
        "arm64",
        "aarch64-linux-gnu-gcc",
        [*_BARE, "-march=armv8.2-a+crypto+dotprod"],
        ("arm64/start.S", "arm64/board.c", "runtime.c", "memory.c"),
    ),
    board="arm-virt",
    guest="debian-arm64",
    qemu=("qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth-impdef=on"),
)
AMD64 = Target(
    "amd64",
    Compiler(
        "amd64",
        "gcc",
        [*_BARE, "-mno-red-zone"],
        ("amd64/start.S", "amd64/board.c", "runtime.c", "memory.c"),
    ),
    board="microvm",
    guest="debian-amd64",
    qemu=("qemu-system-x86_64", "-M", "microvm", "-cpu", "max", "-no-reboot"),
)
TARGETS = {target.name: target for target in (RISCV64, ARM64, AMD64)}

NATIVE = Compiler(
    "native",
    "gcc",
    "-O2 -march=native -Wall -Wextra -Wno-parentheses -Werror -fno-math-errno".split(),
    ("native/board.c", "runtime.c"),
)
"""The host itself, without an emulator."""
