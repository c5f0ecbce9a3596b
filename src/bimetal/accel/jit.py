"""The translating accelerator: the interpreter, and regions of native code where it is hot.

A `Conductor` per accelerator watches where harts spend their time, has hot pages translated by a
worker process, and hands the regions to the harts. A hart installs them itself, between two runs
of native code, after it has compared the page with the code that they were made from.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..base.clock import Clock
from ..codegen.interpreter import Interpreter, engine_digest
from ..codegen.layout import PAGE, PAGE_COPY, PAGE_RECORDS, SAMPLES
from ..codegen.native import Linker
from ..codegen.region import JOINTS
from ..codegen.store import CodeStore
from ..codegen.worker import Compiled, Job, Worker, joint_name
from ..seam import Exit
from .interp import InterpAccelerator, InterpCpu
from .profile import Profile

__all__ = ["JitAccelerator", "JitCpu", "Statistics"]

# How often the conductor looks, in seconds; and samples (of SLICE instructions) that make a place
# hot. A few samples cost less than translating takes on the other core.
INTERVAL, IDLE_INTERVAL = 0.004, 0.05
HOT = 3
# Entries of one region: places in the page that were sampled together.
MAX_ENTRIES = 24


@dataclass(frozen=True, slots=True)
class Loaded:
    """A region in memory: where it is entered, and its address."""

    entries: tuple[int, ...]
    address: int


@dataclass(slots=True)
class Statistics:
    """What the translator has done."""

    compiled: int = 0
    from_store: int = 0
    instructions: int = 0
    seconds: float = 0.0
    installed: int = 0


@dataclass(slots=True)
class _Install:
    """Regions for a page of a hart."""

    page: int
    code: bytes
    regions: list[Loaded]


class JitCpu(InterpCpu):
    """A hart whose hot code is translated."""

    def __init__(
        self, index: int, profile: Profile, native: Interpreter, clock: Clock, firmware_calls: bool
    ):
        super().__init__(index, profile, native, clock, firmware_calls)
        self._arena_words = memoryview(self._arena).cast("Q")
        self._installs: list[_Install] = []
        self._kick_wanted = False
        self.samples_seen = 0
        self.pages_seen = 0
        self.statistics = Statistics()

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

    def samples(self) -> list[tuple[int, int]]:
        """(page, offset) of each place where the budget ran out since the last call."""
        total = self.state.get("sample_count")
        fresh = min(total - self.samples_seen, SAMPLES)
        self.samples_seen = total
        layout, start = self.state.layout, self.state.get("arena_start")
        places = []
        for n in range(total - fresh, total):
            record = self.state.get("sample", n % SAMPLES) - start
            page, rest = divmod(record, layout.page_bytes)
            offset = (rest - PAGE_RECORDS) // layout.scale
            if 0 <= offset < PAGE:
                places.append((page, offset))
        return places

    def offer(self, page: int, code: bytes, regions: list[Loaded]) -> None:
        """Have regions installed at the next safe point. Called from another thread."""
        self._installs.append(_Install(page, code, regions))
        self.state.bytes[self._stop] = 1

    def _install(self) -> None:
        installs, self._installs = self._installs, []
        scale = self.state.layout.scale
        for install in installs:
            if self.code_of(install.page) != install.code:
                continue  # the page has changed, or the arena was emptied
            start = self.page_start(install.page) + PAGE_RECORDS
            for region in install.regions:
                for entry in region.entries:
                    self._arena_words[(start + entry * scale) // 8] = region.address
                self.statistics.installed += 1


@dataclass(slots=True)
class _Known:
    """Regions of a page's content, by digest; ``asked`` are entries that nothing can be had for."""

    regions: list[Loaded] = field(default_factory=list)
    asked: set[int] = field(default_factory=set)


class Conductor:
    """Decides what is translated, and keeps what has been. One thread, one worker process."""

    def __init__(self, accelerator: JitAccelerator):
        self._accelerator = accelerator
        self._isa = accelerator.profile.isa
        self._native = accelerator.native
        self._digest = engine_digest(self._isa)
        self._store = CodeStore()
        joints = {
            joint_name(self._isa, joint): self._native.library.address(joint) for joint in JOINTS
        }
        self._linker = Linker(joints)
        self._known: dict[bytes, _Known] = {}
        self._addresses: set[int] = set()
        self._heat: Counter[tuple[int, int, int]] = Counter()
        self._worker: Worker | None = None
        self._number = 0
        self._stop = threading.Event()
        self._undecoded = self._native.library.address("h_decode")
        self.statistics = Statistics()
        self._thread = threading.Thread(target=self._run, name="bimetal-translator", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and the worker. Idempotent."""
        self._stop.set()
        if self._worker is not None:
            self._worker.close()
        self._thread.join()
        self._store.close()

    def _run(self) -> None:
        interval = INTERVAL
        while not self._stop.wait(interval):
            busy = False
            for cpu in list(self._accelerator.cpus):
                assert isinstance(cpu, JitCpu)
                busy = self._look(cpu) or busy
            interval = INTERVAL if busy else IDLE_INTERVAL

    def _look(self, cpu: JitCpu) -> bool:
        """Take a hart's samples and new pages; whether there were any."""
        samples = cpu.samples()
        self._prepare(cpu)
        for page, offset in samples:
            if cpu.handler(page, offset) not in self._addresses:
                self._heat[cpu.index, page, offset] += 1
        hot = [key for key, heat in self._heat.most_common(8) if heat >= HOT]
        if hot:
            index, page, _ = hot[0]
            offsets = [o for (i, p, o), _ in self._heat.items() if (i, p) == (index, page)]
            for offset in offsets:
                del self._heat[index, page, offset]
            if index == cpu.index:
                self._translate(cpu, page, offsets[:MAX_ENTRIES])
        return bool(samples)

    def _prepare(self, cpu: JitCpu) -> None:
        """Hand out what the store has for pages that a hart has begun to execute."""
        pages = cpu.pages()
        if pages < cpu.pages_seen:
            cpu.pages_seen = 0
            self._heat.clear()
        for page in range(cpu.pages_seen, pages):
            code = cpu.code_of(page)
            known = self._of(code)
            if known.regions:
                cpu.offer(page, code, known.regions)
        cpu.pages_seen = pages

    def _key(self, code: bytes) -> bytes:
        return hashlib.blake2b(code, digest_size=20, key=self._digest[:32]).digest()

    def _of(self, code: bytes) -> _Known:
        """What is known of a page's content, from memory or from the store."""
        key = self._key(code)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known()
            for part, content in self._store.parts(key.hex()):
                symbol, *entries = part.split(" ")
                offsets = tuple(int(entry, 16) for entry in entries)
                known.regions.append(self._load(symbol, offsets, content))
                self.statistics.from_store += 1
        return known

    def _load(self, symbol: str, entries: tuple[int, ...], content: bytes) -> Loaded:
        address = self._linker.load(content, symbol)
        self._addresses.add(address)
        return Loaded(entries, address)

    def _translate(self, cpu: JitCpu, page: int, offsets: Iterable[int]) -> None:
        """Get a region for these hot places of a page, and install it."""
        code = cpu.code_of(page)
        known = self._of(code)
        wanted = {offset for offset in offsets if offset not in known.asked}
        have = {entry for region in known.regions for entry in region.entries}
        if wanted & have:
            cpu.offer(page, code, known.regions)
        entries = tuple(sorted(wanted - have))
        if not entries:
            return
        known.asked.update(entries)
        key = self._key(code)
        symbol = f"region_{uuid.uuid4().hex}"  # objects of many runs meet in one process
        answer = self._compile(cpu, page, code, entries, symbol)
        if answer is None or not answer.content:
            return
        known.regions.append(self._load(symbol, answer.entries, answer.content))
        part = f"{symbol} " + " ".join(f"{entry:x}" for entry in answer.entries)
        self._store.put(key.hex(), answer.content, part)
        cpu.offer(page, code, [known.regions[-1]])

    def _compile(
        self, cpu: JitCpu, page: int, code: bytes, entries: tuple[int, ...], symbol: str
    ) -> Compiled | None:
        if self._worker is None:
            self._worker = Worker(self._isa)
        self._number += 1
        executed = cpu.executed(page, self._undecoded)
        job = Job(self._number, code, entries, executed, symbol)
        answer = self._worker.translate(job)
        if answer is not None:
            self.statistics.compiled += 1
            self.statistics.instructions += answer.instructions
            self.statistics.seconds += answer.seconds
        return answer


class JitAccelerator(InterpAccelerator):
    """Harts whose hot code is translated."""

    name = "jit"

    def __init__(self, isa: str, *, clock: Clock, firmware_calls: bool = False, cpus: int = 1):
        super().__init__(isa, clock=clock, firmware_calls=firmware_calls, cpus=cpus)
        self.conductor = Conductor(self)

    def add_cpu(self, index: int) -> JitCpu:
        """See `Accelerator.add_cpu`."""
        cpu = JitCpu(index, self.profile, self.native, self._clock, self._firmware_calls)
        self._adopt(cpu)
        return cpu

    def close(self) -> None:
        """See `Accelerator.close`."""
        self.conductor.close()
        super().close()
