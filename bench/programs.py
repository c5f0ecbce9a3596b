"""The bench guests: where their sources are, and how they become programs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.targets import NATIVE, TARGETS, Compiler, Target

__all__ = ["SOURCES", "build", "build_for_linux", "common_names", "kind", "names"]

SOURCES = Path(__file__).resolve().parent / "guests"
LINUX_OPTIONS = "-O2 -Wall -Wextra -Werror -static -pthread".split()
SHARED = {
    file for each in (*(t.compiler for t in TARGETS.values()), NATIVE) for file in each.shared
}


KINDS = {
    "floating point": ("fft", "mandelbrot", "matrix", "nbody"),
    "x87": ("planets",),
    "SIMD": ("aesctr", "dotbytes", "memchr", "saxpy", "sha256"),
}
"""Programs by what they exercise; the others are of integers."""


def kind(name: str) -> str:
    """What a program exercises."""
    return next((kind for kind, members in KINDS.items() if name in members), "integer")


def common_names() -> list[str]:
    """The programs that are the same for every instruction set, in the order of the report."""
    return sorted(_programs(""))


def names(compiler: Compiler) -> list[str]:
    """All programs that ``compiler`` compiles, those of one instruction set at the end."""
    return [*common_names(), *sorted(_programs(compiler.folder))]


def build(name: str, compiler: Compiler, folder: Path) -> Path:
    """Compile the program ``name`` into ``folder``; subprocess.CalledProcessError if it fails."""
    own = SOURCES / compiler.folder / f"{name}.c"
    program = own if own.exists() else SOURCES / f"{name}.c"
    sources = [*(SOURCES / file for file in compiler.shared), program]
    others = [*SOURCES.glob("*.h"), SOURCES.parent / "targets.py"]
    options = list(compiler.options)
    script = SOURCES / compiler.folder / "virt.ld"
    if script.exists():
        others.append(script)
        options += ["-T", str(script)]
    file = folder / compiler.folder / f"{name}.elf"
    return _compiled(file, compiler.command, sources, others, options)


def build_for_linux(name: str, target: Target, folder: Path) -> Path:
    """The same for a program of Linux, in ``bench/guests/linux/``."""
    source = SOURCES / "linux" / f"{name}.c"
    command = target.compiler.command
    return _compiled(folder / target.name / name, command, [source], [], LINUX_OPTIONS)


def _programs(folder: str) -> set[str]:
    files = {path.relative_to(SOURCES).as_posix() for path in (SOURCES / folder).glob("*.c")}
    return {Path(file).stem for file in files - SHARED}


def _compiled(
    program: Path,
    command: str,
    sources: Sequence[Path],
    others: Sequence[Path],
    options: Sequence[str],
) -> Path:
    """The program made from sources, unless it is newer than they and ``others``."""
    program.parent.mkdir(parents=True, exist_ok=True)
    inputs = [*sources, *others, Path(__file__)]
    if program.exists() and program.stat().st_mtime > max(p.stat().st_mtime for p in inputs):
        return program
    subprocess.run([command, *options, *map(str, sources), "-o", str(program)], check=True)
    return program
