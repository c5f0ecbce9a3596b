"""Regions of single instructions: each is translated on its own and installed at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bimetal.accel.code_page import Loaded
from bimetal.accel.jit import JitCpu
from bimetal.accel.loader import Loader
from bimetal.codegen.interpreter import interpreter
from bimetal.codegen.job import Job
from bimetal.codegen.translator import translate
from bimetal.codegen.ways_out import STUBS
from bimetal.isa.describe import Isa
from bimetal.seam import Cpu

from .state import Case, State

__all__ = ["PAGE", "SingleRegions"]

PAGE = 4096


class SingleRegions:
    """The translator at one of its levels. ``translated`` counts the encodings that it took."""

    def __init__(self, isa: Isa, level: int):
        self.isa, self.level, self.translated = isa, level, 0
        self._jobs = 0

    def states(
        self, cpu: Cpu, page: memoryview, cases: Sequence[Case], one: Callable[[Case], State]
    ) -> list[State]:
        """The states after cases. Whoever executes ``one`` writes its instruction to the start of
        the page."""
        assert isinstance(cpu, JitCpu)
        native = interpreter(self.isa, cpu.state.layout.shared)
        loader = Loader([native.library.address(stub) for stub in STUBS])
        states = []
        word, region = None, None
        for case in cases:
            if (case.word, case.size) != word:
                word = case.word, case.size
                one(case)  # so that the page has been decoded
                region = self._install(cpu, loader, bytes(page))
            states.append(one(case))
            if region is not None:
                number, address = region
                assert cpu.handler(number, 0) == address, f"{case.text}: the region is gone"
        return states

    def _install(self, cpu: JitCpu, loader: Loader, code: bytes) -> tuple[int, int] | None:
        """Translate the instruction at the start of a page and put the region into its record.

        The page's number and the region's address, or None if it is none for a region.
        """
        executed = b"\1" + bytes(PAGE // self.isa.granule - 1)
        symbol = f"region_{self.level}_{self._jobs}"
        self._jobs += 1
        job = Job(code, (0,), executed, self.level, symbol)
        made = translate(self.isa, cpu.state.layout, job)
        if not made.content:
            return None
        self.translated += 1
        region = Loaded(self.level, made.entries, loader.load(made.content))
        page = next(n for n in range(cpu.pages()) if cpu.code_of(n) == code)
        cpu.offer(page, code, [region])
        return page, region.address
