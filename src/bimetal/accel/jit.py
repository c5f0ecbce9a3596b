"""The translating accelerator: the interpreter, and regions of native code for hot code.

A vCPU installs regions itself, between two runs of native code, after it has compared the page
with the code that they were made from. `tiering` decides what is translated, and when.
"""

from __future__ import annotations

import ctypes
import mmap
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial

from ..base.clock import Clock
from ..codegen.interpreter import Interpreter
from ..codegen.layout import (
    DECODED,
    PAGE,
    PAGE_COPY,
    PAGE_HOST,
    PAGE_MODE,
    PAGE_RECORDS,
    SAMPLE_WORDS,
)
from ..codegen.policy import USUAL, Policy, configured
from ..isa.contract import Architecture, Start
from ..seam import Exit
from .code_page import Loaded
from .interp import InterpAccelerator, InterpCpu
from .ring import RingReader
from .sampler import SampleReader
from .tiering import Tiering
from .vcpu_state import anonymous

__all__ = ["JitAccelerator", "JitCpu"]

RUN_BYTES = 256 << 20
"""Memory for the runs of a vCPU: those of a Java program take 100 MiB."""


class JitCpu(InterpCpu):
    """A vCPU whose hot code is translated."""

    def __init__(
        self,
        architecture: Architecture,
        start: Start,
        native: Interpreter,
        clock: Clock,
        tiering: Tiering,
    ):
        self.tiering, self._policy = tiering, tiering.policy
        self._attended = 0
        super().__init__(architecture, start, native, clock)
        if self._policy.wait:
            self._enter_alone, self._enter = self._enter, self._enter_attended
        self._arena_words = memoryview(self._arena).cast("Q")
        layout = native.layout
        self._scale, self._page_bytes = layout.scale, layout.page_bytes
        self._arena_start = self.state.get("arena_start")
        self._errands = deque[Callable[[], None]]()
        """What other threads want done at the next safe point."""
        self._kick_wanted = False
        self._runs: mmap.mmap | None = None
        if self._policy.runs:
            self._runs, memory = anonymous(RUN_BYTES, executable=True, huge=self._scattered)
            constants = native.constants()
            self._runs[: len(constants)] = constants
            self._constants_end = -(-len(constants) // PAGE) * PAGE
            self.state.set("code_constants", 0, memory)
            self.state.set("code_start", 0, memory + self._constants_end)
            self.state.set("code_limit", 0, memory + RUN_BYTES)
            self.state.set("code_eager", 0, self._policy.eager)
            self._restart_arenas()
        self._samples = SampleReader(self.state)
        self._decoded = RingReader(self.state, "decoded", "decoded_count", DECODED)
        self._forgotten = False
        self.installed = 0
        self._begun = False

    # -- running
    def run(self) -> Exit:
        """See `Cpu.run`."""
        if not self._begun:
            self._begun = True
            self.tiering.begin()
        while True:
            if self._errands:
                self._run_errands()
            exit_ = InterpCpu.run(self)  # in less time than by super()
            if exit_ is not self._exits.kicked:
                return exit_
            if self._policy.wait:
                self._attend()
            if self._kick_wanted:
                self._kick_wanted = False
                return exit_

    def kick(self) -> None:
        """See `Cpu.kick`."""
        self._kick_wanted = True
        super().kick()

    @property
    def kicked(self) -> bool:
        """Whether `run` is to come back: it does at the next safe point."""
        return self._kick_wanted

    def reset(self) -> None:
        """See `Cpu.reset`."""
        super().reset()
        self.state.set("slice", 0, self._policy.slice)

    # -- policies under which vCPUs wait
    def _enter_attended(self, address: int) -> None:
        """Run native code up to the next poll."""
        self.state.bytes[self._stop] = 1
        self._enter_alone(address)

    def _attend(self) -> None:
        """Wait until what was sampled is translated. Polls become rare while nothing is new."""
        policy = self._policy
        self._attended += 1
        if policy.forget and self._attended % policy.forget == 0:
            self._forget(self._attended // policy.forget % 2 == 0)
        new = self.tiering.attend(self)
        often = new or policy.forget
        wider = min(2 * self.state.get("slice"), USUAL.slice)
        self.state.set("slice", 0, policy.slice if often else wider)

    def _forget(self, pages: bool) -> None:
        """Drop everything decoded and installed; with ``pages``, also which pages were decoded."""
        if pages:
            self._empty()
        for page in range(self.pages()):
            start = self.page_start(page)
            records, copy = start + PAGE_RECORDS, start + PAGE_COPY
            host = self._arena_words[(start + PAGE_HOST) // 8]
            self._arena[copy : copy + PAGE] = ctypes.string_at(host, PAGE)
            self._arena[records : records + len(self._blank) - 1] = self._blank.raw[:-1]
        self._forgotten = True

    def _empty(self) -> None:
        """Forget which pages were decoded and what was made of them, and give the memory back to
        the host."""
        assert self._code_table is not None
        for memory in (self._code_table, self._arena):
            memory.madvise(mmap.MADV_DONTNEED)
        if self._runs is not None:
            unused = RUN_BYTES - self._constants_end
            self._runs.madvise(mmap.MADV_DONTNEED, self._constants_end, unused)
        self._restart_arenas()
        self.flush()

    def close(self) -> None:
        """See `Cpu.close`."""
        self._arena_words.release()
        super().close()
        if self._runs is not None:
            self._runs.close()

    def areas(self) -> list[tuple[int, int]]:
        """Where decoded pages and runs are; see `Forkable.areas`."""
        runs = [(self.state.get("code_constants"), RUN_BYTES)] if self._runs is not None else []
        return super().areas() + runs

    # -- counters
    @property
    def counters(self) -> dict[str, int]:
        """See `Counted.counters`. Instructions by tier are estimates from the samples."""
        counted, in_regions = super().counters, self.sampled_in_regions
        total = counted.pop("instructions")
        translated = total * in_regions // max(1, self.sampled)
        tiers = {
            "interpreted (estimate)": total - translated,
            "translated (estimate)": translated,
        }
        return {"instructions": total} | tiers | counted

    # -- what tiering sees
    def page_start(self, page: int) -> int:
        """The offset of a decoded page in the arena."""
        return page * self._page_bytes

    def code_of(self, page: int) -> bytes:
        """The guest code that a page was decoded from."""
        start = self.page_start(page) + PAGE_COPY
        return self._arena[start : start + PAGE]

    def mode_of(self, page: int) -> int:
        """The decode mode that a page was decoded in."""
        return self._arena[self.page_start(page) + PAGE_MODE]

    def handler(self, page: int, offset: int) -> int:
        """The address of the handler in the record for an offset of a page."""
        at = self.page_start(page) + PAGE_RECORDS + offset * self._scale
        return self._arena_words[at // 8]

    def pages(self) -> int:
        """How many pages have been decoded since the arena was last emptied."""
        return (self.state.get("arena_next") - self._arena_start) // self._page_bytes

    def decoded(self) -> Iterable[int]:
        """The pages that were decoded, or decoded anew, since the last call, each once."""
        lost = self._decoded.lost
        addresses = self._decoded.take()
        if self._forgotten or self._decoded.lost > lost:
            self._forgotten = False
            return range(self.pages())
        start, size = self._arena_start, self._page_bytes
        return dict.fromkeys((address - start) // size for address in addresses)

    def executed(self, page: int, undecoded: int) -> bytes:
        """A byte for each granule of a page, 1 if its record has been decoded; ``undecoded`` is the
        handler of those that have not."""
        granule = self.state.layout.isa.granule
        first = (self.page_start(page) + PAGE_RECORDS) // 8
        step, count = self._scale * granule // 8, PAGE // granule
        handlers = self._arena_words[first : first + count * step : step]
        return bytes(handler != undecoded for handler in handlers)

    def misaligned(self) -> tuple[int, ...]:
        """The offsets, in whatever page, at which an instruction of a region has accessed memory
        misaligned."""
        start = self.state.layout.offsets["misaligned"]
        noted = bytes(self.state.bytes[start : start + PAGE])
        return tuple(offset for offset, noted_there in enumerate(noted) if noted_there)

    def samples(self) -> Counter[tuple[int, int, int]]:
        """How often each jump has found the budget spent since the last call. A jump is given as
        the record it led to, its own record (either 0 if unknown), and 1 if it is in a region;
        `place` says where a record is."""
        words = self._samples.take()
        records, jumps, in_region = (words[n::SAMPLE_WORDS] for n in (0, 1, 4))
        return Counter(zip(records, jumps, in_region, strict=True))

    def place(self, record: int) -> tuple[int, int]:
        """The page and the offset in it for which a record stands."""
        page, rest = divmod(record - self._arena_start, self._page_bytes)
        return page, (rest - PAGE_RECORDS) // self._scale

    def offer(self, page: int, code: bytes, regions: list[Loaded], mode: int = 0) -> None:
        """Have regions for a page with this code, in a decode mode, installed at the next safe
        point. May be called from any thread."""
        self._at_next_stop(partial(self._install, page, code, mode, regions))

    def give_back(self) -> None:
        """Have all that was decoded forgotten, and its memory given back to the host, at the next
        safe point. May be called from any thread."""
        self._at_next_stop(self._empty)

    def _at_next_stop(self, do: Callable[[], None]) -> None:
        self._errands.append(do)
        self.state.bytes[self._stop] = 1

    def _run_errands(self) -> None:
        errands = self._errands
        while errands:  # others add to them meanwhile
            errands.popleft()()

    def _install(self, page: int, code: bytes, mode: int, regions: list[Loaded]) -> None:
        if (self.code_of(page), self.mode_of(page)) != (code, mode):
            return  # the page has changed, or the arena was emptied
        start = self.page_start(page) + PAGE_RECORDS
        for region in regions:
            for entry in region.entries:
                self._arena_words[(start + entry * self._scale) // 8] = region.address
        self.installed += len(regions)


class JitAccelerator(InterpAccelerator):
    """Makes vCPUs whose hot code is translated."""

    name = "jit"

    def __init__(
        self,
        isa: str,
        *,
        clock: Clock,
        firmware_calls: bool = False,
        cpus: int = 1,
        model: str = "",
        hypervisor: bool = False,
        controller: bool = False,
        background: bool = False,
        policy: Policy | None = None,
    ):
        super().__init__(
            isa,
            clock=clock,
            firmware_calls=firmware_calls,
            cpus=cpus,
            model=model,
            hypervisor=hypervisor,
            controller=controller,
        )
        self._vcpus: list[JitCpu] = []
        features = self.architecture.features(self._start.model)
        self.tiering = Tiering(
            self.native, self._vcpus, policy or configured(), background, features
        )

    def add_cpu(self, index: int) -> JitCpu:
        """See `Accelerator.add_cpu`."""
        start = self._start_of(index)
        cpu = JitCpu(self.architecture, start, self.native, self._clock, self.tiering)
        self._adopt(cpu)
        self._vcpus.append(cpu)
        return cpu

    @property
    def counters(self) -> dict[str, int]:
        """See `Counted.counters`."""
        return self.tiering.counters

    def quiet(self) -> AbstractContextManager[object]:
        """See `Forkable.quiet`."""
        return self.tiering.quiet()

    def forked(self) -> None:
        """See `Forkable.forked`. What is translated stays so."""
        super().forked()
        self.tiering.forked()

    def begun(self) -> None:
        """See `Forkable.begun`."""
        self.tiering.begin()

    def close(self) -> None:
        """See `Accelerator.close`."""
        self.tiering.close()
        super().close()
