"""Regions as an executor: each instruction is translated on its own and installed at once."""

from __future__ import annotations

from collections.abc import Sequence

from bimetal.isa.riscv import rv64
from bimetal.seam import Cpu

from .executors import BASE, CpuExecutor
from .single_regions import PAGE, SingleRegions
from .state import CODE, Case, State

__all__ = ["RegionExecutor"]


class RegionExecutor(CpuExecutor):
    """The translator at one of its levels."""

    def __init__(self, level: int):
        super().__init__("jit")
        self.regions = SingleRegions(rv64, level)

    def on(self, cpu: Cpu, memory: memoryview, cases: Sequence[Case]) -> list[State]:
        """See `CpuExecutor`."""
        page = memory[CODE - BASE : CODE - BASE + PAGE]
        return self.regions.states(cpu, page, cases, lambda case: self.one(cpu, memory, case))
