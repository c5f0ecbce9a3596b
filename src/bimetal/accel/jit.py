"""The translating accelerator: the interpreter, and regions of native code where it is hot.

A hart installs regions itself, between two runs of native code, after it has compared the page
with the code that they were made from. What is translated, and when, the `conductor` decides.
"""

from __future__ import annotations

from ..base.clock import Clock
from ..codegen.interpreter import Interpreter
from ..codegen.layout import PAGE, PAGE_COPY, PAGE_RECORDS, SAMPLE_WORDS
from ..seam import Exit
from .conductor import Conductor, Loaded
from .interp import InterpAccelerator, InterpCpu
from .profile import Profile
from .sampler import SampleReader

__all__ = ["JitAccelerator", "JitCpu"]


class JitCpu(InterpCpu):
    """A hart whose hot code is translated."""

    def __init__(
        self, index: int, profile: Profile, native: Interpreter, clock: Clock, firmware_calls: bool
    ):
        super().__init__(index, profile, native, clock, firmware_calls)
        self._arena_words = memoryview(self._arena).cast("Q")
        self._installs: list[tuple[int, bytes, list[Loaded]]] = []
        self._kick_wanted = False
        self._samples = SampleReader(self.state)
        self.pages_seen = 0
        self.installed = 0

    # -- running
    def run(self) -> Exit:
        """See `Cpu.run`."""
        while True:
            if self._installs:
                self._install()
            exit_ = super().run()
            if exit_ is not self._kicked or self._kick_wanted:
                if exit_ is self._kicked:
                    self._kick_wanted = False
                return exit_

    def kick(self) -> None:
        """See `Cpu.kick`."""
        self._kick_wanted = True
        super().kick()

    @property
    def counters(self) -> dict[str, int]:
        """See `Counted.counters`. By tier, instructions are estimated from the samples."""
        counted, in_regions = super().counters, self.sampled_in_regions
        total = counted.pop("instructions")
        translated = total * in_regions // max(1, self.sampled)
        tiers = {
            "interpreted (estimate)": total - translated,
            "translated (estimate)": translated,
        }
        return {"instructions": total} | tiers | counted

    # -- what the conductor sees
    def page_start(self, page: int) -> int:
        """Where a decoded page lies in the arena."""
        return page * self.state.layout.page_bytes

    def code_of(self, page: int) -> bytes:
        """The guest code that a page was decoded from."""
        start = self.page_start(page) + PAGE_COPY
        return self._arena[start : start + PAGE]

    def handler(self, page: int, offset: int) -> int:
        """The handler in the record of an offset."""
        at = self.page_start(page) + PAGE_RECORDS + offset * self.state.layout.scale
        return self._arena_words[at // 8]

    def pages(self) -> int:
        """How many pages have been decoded since the arena was last emptied."""
        used = self.state.get("arena_next") - self.state.get("arena_start")
        return used // self.state.layout.page_bytes

    def executed(self, page: int, undecoded: int) -> bytes:
        """A byte for each granule of a page: whether its record has been decoded."""
        layout = self.state.layout
        first = (self.page_start(page) + PAGE_RECORDS) // 8
        step = layout.scale * layout.isa.granule // 8
        count = PAGE // layout.isa.granule
        handlers = self._arena_words[first : first + count * step : step]
        return bytes(handler != undecoded for handler in handlers)

    def samples(self) -> list[int]:
        """The records to which jumps led where the budget ran out, since the last call; `place`
        explains one."""
        return [record for record in self._samples.take()[::SAMPLE_WORDS] if record]

    def place(self, record: int) -> tuple[int, int]:
        """The page and offset that a record stands for."""
        layout = self.state.layout
        page, rest = divmod(record - self.state.get("arena_start"), layout.page_bytes)
        return page, (rest - PAGE_RECORDS) // layout.scale

    def offer(self, page: int, code: bytes, regions: list[Loaded]) -> None:
        """Have regions installed at the next safe point. Called from another thread."""
        self._installs.append((page, code, regions))
        self.state.bytes[self._stop] = 1

    def _install(self) -> None:
        installs, self._installs = self._installs, []
        scale = self.state.layout.scale
        for page, code, regions in installs:
            if self.code_of(page) != code:
                continue  # the page has changed, or the arena was emptied
            start = self.page_start(page) + PAGE_RECORDS
            for region in regions:
                for entry in region.entries:
                    self._arena_words[(start + entry * scale) // 8] = region.address
            self.installed += len(regions)


class JitAccelerator(InterpAccelerator):
    """Harts whose hot code is translated."""

    name = "jit"

    def __init__(self, isa: str, *, clock: Clock, firmware_calls: bool = False, cpus: int = 1):
        super().__init__(isa, clock=clock, firmware_calls=firmware_calls, cpus=cpus)
        self._harts: list[JitCpu] = []
        self.conductor = Conductor(self.native, self._harts)

    def add_cpu(self, index: int) -> JitCpu:
        """See `Accelerator.add_cpu`."""
        cpu = JitCpu(index, self.profile, self.native, self._clock, self._firmware_calls)
        self._adopt(cpu)
        self._harts.append(cpu)
        return cpu

    @property
    def counters(self) -> dict[str, int]:
        """See `Counted.counters`."""
        return self.conductor.counters

    def close(self) -> None:
        """See `Accelerator.close`."""
        self.conductor.close()
        super().close()
