"""The bench guests: where their sources are, and how they become bootable ELF files."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["SOURCES", "build", "build_for_linux", "names"]

SOURCES = Path(__file__).resolve().parent / "guests"
SHARED = ("start.S", "runtime.c")
COMPILER = "riscv64-linux-gnu-gcc"
OPTIONS = (
    "-march=rv64gc -mabi=lp64d -mcmodel=medany -O2 -Wall -Wextra -Wno-parentheses -Werror"
    " -ffreestanding -fno-math-errno -fno-pic -fno-tree-loop-distribute-patterns"
    " -nostdlib -static -no-pie -Wl,--build-id=none -Wl,--no-warn-rwx-segments"
).split()
LINUX_OPTIONS = "-O2 -Wall -Wextra -Werror -static -pthread".split()


def names() -> list[str]:
    """The programs, in the order of the report."""
    return sorted(path.stem for path in SOURCES.glob("*.c") if path.name not in SHARED)


def build(name: str, folder: Path) -> Path:
    """Compile the program ``name`` into ``folder``; subprocess.CalledProcessError if it fails."""
    sources = [SOURCES / file for file in (*SHARED, f"{name}.c")]
    others = [SOURCES / "runtime.h", SOURCES / "virt.ld"]
    options = [*OPTIONS, "-T", str(SOURCES / "virt.ld")]
    return _compiled(folder / f"{name}.elf", sources, others, options)


def build_for_linux(name: str, folder: Path) -> Path:
    """The same for a program of Linux, in ``bench/guests/linux/``."""
    return _compiled(folder / name, [SOURCES / "linux" / f"{name}.c"], [], LINUX_OPTIONS)


def _compiled(
    program: Path, sources: Sequence[Path], others: Sequence[Path], options: Sequence[str]
) -> Path:
    """The program made from sources, unless it is newer than they and ``others``."""
    program.parent.mkdir(parents=True, exist_ok=True)
    inputs = [*sources, *others, Path(__file__)]
    if program.exists() and program.stat().st_mtime > max(p.stat().st_mtime for p in inputs):
        return program
    subprocess.run([COMPILER, *options, *map(str, sources), "-o", str(program)], check=True)
    return program
