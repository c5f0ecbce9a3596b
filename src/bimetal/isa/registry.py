"""Instruction sets by name, imported when they are asked for."""

from __future__ import annotations

from importlib import import_module

from .describe import Isa

__all__ = ["ISAS", "isa_named"]

ISAS = {"riscv64": "bimetal.isa.riscv:rv64"}


def isa_named(name: str) -> Isa:
    """The described instruction set of that name; KeyError if there is none."""
    module, _, attribute = ISAS[name].partition(":")
    isa = getattr(import_module(module), attribute)
    assert isinstance(isa, Isa)
    return isa
