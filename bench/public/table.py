"""The table of programs, ``bench/guests/public/programs.toml``, and the script made of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import msgspec
from msgspec import Struct

from bench.programs import SOURCES

__all__ = ["FOLDER", "Program", "choose", "kinds", "load", "packaged", "script"]

FOLDER = SOURCES / "public"
"""What the programs are given to run."""


class Program(Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the table, which describes its fields."""

    kind: str
    packages: tuple[str, ...]
    run: str
    prepare: str = ":"
    short: int = 1
    long: int = 30
    without: tuple[str, ...] = ()

    def scale(self, *, long: bool) -> int:
        """How much of it there is in one of the forms; 0 if it has none."""
        return self.long if long else self.short


@cache
def load() -> dict[str, Program]:
    """The programs by name, in the order of the table."""
    text = (FOLDER / "programs.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[str, Program])


def kinds() -> list[str]:
    """What programs are grouped by, in the order of the table."""
    return list(dict.fromkeys(program.kind for program in load().values()))


def packaged(arch: str) -> dict[str, Program]:
    """The programs that Debian has for ``arch``."""
    return {name: each for name, each in load().items() if arch not in each.without}


def choose(arch: str, only: Iterable[str] = (), *, long: bool = False) -> dict[str, Program]:
    """The programs that ``arch`` has, or those of them that ``only`` names, itself or by kind.

    Raises ValueError for a name that is none of either.
    """
    wanted = {*only}
    if unknown := wanted - {*load(), *kinds()}:
        raise ValueError(f"no program or kind {min(unknown)!r}; there are {', '.join(load())}")
    return {
        name: program
        for name, program in packaged(arch).items()
        if program.scale(long=long) and (not wanted or wanted & {name, program.kind})
    }


def script(programs: dict[str, Program], order: Sequence[str], *, long: bool = False) -> str:
    """The shell's script that prepares and times the programs in an order."""
    parts = [(SOURCES / "public.sh").read_text()]
    for name in order:
        program = programs[name]
        parts.append(f"prepare_{name}() {{\n{program.prepare}\n}}\n")
        parts.append(f"run_{name}() {{\n{program.run}\n}}\n")
    parts += [f"N={programs[name].scale(long=long)} bench {name}\n" for name in order]
    return "\n".join(parts)
