"""The bench guests: where their sources are, and how they become bootable ELF files."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["build", "names"]

SOURCES = Path(__file__).resolve().parent / "guests"
SHARED = ("start.S", "runtime.c")
COMPILER = "riscv64-linux-gnu-gcc"
OPTIONS = (
    "-march=rv64gc -mabi=lp64d -mcmodel=medany -O2 -Wall -Wextra -Wno-parentheses -Werror"
    " -ffreestanding -fno-math-errno -fno-pic -fno-tree-loop-distribute-patterns"
    " -nostdlib -static -no-pie -Wl,--build-id=none -Wl,--no-warn-rwx-segments"
).split()


def names() -> list[str]:
    """The programs, in the order of the report."""
    return sorted(path.stem for path in SOURCES.glob("*.c") if path.name not in SHARED)


def build(name: str, folder: Path) -> Path:
    """Compile the program ``name`` into ``folder``; subprocess.CalledProcessError if it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / f"{name}.elf"
    sources = [SOURCES / file for file in (*SHARED, f"{name}.c")]
    inputs = [*sources, SOURCES / "runtime.h", SOURCES / "virt.ld", Path(__file__)]
    if program.exists() and program.stat().st_mtime > max(p.stat().st_mtime for p in inputs):
        return program
    script = ["-T", str(SOURCES / "virt.ld")]
    subprocess.run(
        [COMPILER, *OPTIONS, *script, *map(str, sources), "-o", str(program)], check=True
    )
    return program
