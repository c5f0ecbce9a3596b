"""RISC-V with a model that lacks some of the extensions."""

from __future__ import annotations

from dataclasses import replace

from bimetal.isa.riscv.architecture import architecture as whole

__all__ = ["architecture"]

architecture = replace(whole, models=("rv64", "plain"), lacks={"plain": ("zba", "zbb", "zicond")})
