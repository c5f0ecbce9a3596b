"""RISC-V with a model that lacks some of the extensions."""

from __future__ import annotations

from msgspec.structs import replace

from bimetal.isa.contract import Whole
from bimetal.isa.riscv.architecture import architecture as whole

__all__ = ["architecture"]

LACKS = {"plain": ("zba", "zbb", "zicond")}

architecture = replace(
    whole, models=("rv64", "plain"), processor=lambda model: Whole(LACKS.get(model, ()))
)
