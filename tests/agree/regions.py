"""Regions as an executor: each instruction is translated on its own and installed at once."""

from __future__ import annotations

from collections.abc import Sequence

from bimetal.accel.code_page import Loaded
from bimetal.accel.jit import JitCpu
from bimetal.accel.loader import Loader
from bimetal.codegen.interpreter import interpreter
from bimetal.codegen.job import Job
from bimetal.codegen.layout import Layout
from bimetal.codegen.translator import translate
from bimetal.codegen.ways_out import STUBS
from bimetal.isa.riscv import rv64
from bimetal.seam import Cpu

from .executors import BASE, CpuExecutor
from .state import CODE, Case, State

__all__ = ["RegionExecutor"]

PAGE = 4096


class RegionExecutor(CpuExecutor):
    """The translator at one of its levels. ``translated`` counts the instructions it took."""

    def __init__(self, level: int):
        super().__init__("jit")
        self.level, self.translated = level, 0
        self.jobs = 0

    def on(self, cpu: Cpu, memory: memoryview, cases: Sequence[Case]) -> list[State]:
        """See `CpuExecutor`."""
        assert isinstance(cpu, JitCpu)
        native = interpreter(rv64)
        loader = Loader([native.library.address(stub) for stub in STUBS])
        states = []
        page = slice(CODE - BASE, CODE - BASE + PAGE)
        word, region = None, None
        for case in cases:
            if case.word != word:
                word = case.word
                self.one(cpu, memory, case)  # so that the page has been decoded
                region = self._install(cpu, loader, native.layout, bytes(memory[page]))
            states.append(self.one(cpu, memory, case))
            if region is not None:
                number, address = region
                assert cpu.handler(number, 0) == address, f"{case.text}: the region is gone"
        return states

    def _install(
        self, cpu: JitCpu, loader: Loader, layout: Layout, code: bytes
    ) -> tuple[int, int] | None:
        """Translate the instruction at the start of a page and put the region into its record.

        The page's number and the region's address, or None if it is none for a region.
        """
        executed = b"\1" + bytes(PAGE // rv64.granule - 1)
        symbol = f"region_{self.level}_{self.jobs}"
        self.jobs += 1
        made = translate(rv64, layout, Job(code, (0,), executed, self.level, symbol))
        if not made.content:
            return None
        self.translated += 1
        region = Loaded(self.level, made.entries, loader.load(made.content))
        page = next(n for n in range(cpu.pages()) if cpu.code_of(n) == code)
        cpu.offer(page, code, [region])
        return page, region.address
