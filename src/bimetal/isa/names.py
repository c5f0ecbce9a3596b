"""Instruction sets by name, imported when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import cast

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import choose_from
from bimetal.isa.contract import Architecture
from bimetal.isa.describe import Isa

__all__ = [
    "INSTRUCTION_SETS",
    "UNFINISHED",
    "architecture",
    "described_in",
    "disassemble",
    "instruction_set",
]

INSTRUCTION_SETS = {
    "riscv64": "bimetal.isa.riscv.architecture",
    "aarch64": "bimetal.isa.arm.architecture",
    "x86_64": "bimetal.isa.x86.architecture",
}
"""Each name, by which `platform.machine` knows it too, and the module of its `Architecture`."""


UNFINISHED = frozenset({"x86_64"})
"""Those of which too little is proved yet: our accelerators run them if one is named."""


def architecture(name: str) -> Architecture:
    """The architecture called ``name``; `BimetalError` if there is none."""
    if name not in INSTRUCTION_SETS:
        raise BimetalError(
            f"there is no instruction set {name!r}",
            choose_from(name, INSTRUCTION_SETS),
            ExitCode.USAGE,
        )
    return described_in(INSTRUCTION_SETS[name])


def described_in(module: str) -> Architecture:
    """The architecture that a module describes. Other processes find it by that, as it may stand in
    none of their own lists."""
    return cast(Architecture, import_module(module).architecture)


def instruction_set(name: str) -> Isa:
    """The instruction set called ``name``; `BimetalError` if there is none."""
    return architecture(name).isa


def disassemble(
    code: bytes, arch: str = "riscv64", address: int = 0
) -> Iterator[tuple[int, bytes, str]]:
    """Address, bytes and assembly text of each instruction of ``code``, first to last."""
    return instruction_set(arch).disassemble(code, address)
