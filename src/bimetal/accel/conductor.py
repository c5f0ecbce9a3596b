"""Deciding what is translated: where harts spend their time, and what is known of it already.

Harts leave a sample at every poll: the record at which their budget ran out, a fair picture of
where time goes that costs nothing. The conductor reads the samples a few hundred times a second,
has hot places translated by the worker process, and offers harts the regions of every page that
they begin to execute, so what an earlier run has translated is in place at once.
"""

from __future__ import annotations

import hashlib
import random
import sys
import threading
import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple, Protocol, TypeVar

from ..base.log import logger
from ..codegen.interpreter import Interpreter, engine_digest
from ..codegen.layout import PAGE
from ..codegen.native import Linker
from ..codegen.policy import Policy
from ..codegen.region import JOINTS
from ..codegen.store import CodeStore
from ..codegen.worker import Compiled, Job, Worker, joint_name

__all__ = ["Conductor", "Loaded", "Statistics"]

_log = logger("translator")
_Place = TypeVar("_Place")

# How long a thread may hold Python's lock while another waits for it. A hart that comes back from
# native code must not wait the usual five milliseconds for the conductor.
SWITCH_INTERVAL = 0.0002


@dataclass(frozen=True, slots=True)
class Loaded:
    """A region in memory: its level, where it is entered, and its address."""

    level: int
    entries: tuple[int, ...]
    address: int


@dataclass(slots=True)
class Statistics:
    """What the translator has done; ``seconds`` are the worker's processor time."""

    compiled: int = 0
    from_store: int = 0
    instructions: int = 0
    seconds: float = 0.0


class Hart(Protocol):
    """A hart as the conductor sees it; `jit.JitCpu` is one."""

    index: int
    pages_seen: int

    def samples(self) -> Counter[tuple[int, int, int]]: ...
    def place(self, record: int) -> tuple[int, int]: ...
    def handler(self, page: int, offset: int) -> int: ...
    def pages(self) -> int: ...
    def code_of(self, page: int) -> bytes: ...
    def executed(self, page: int, undecoded: int) -> bytes: ...
    def offer(self, page: int, code: bytes, regions: list[Loaded]) -> None: ...


@dataclass(slots=True)
class _Known:
    """What is known of a page's content.

    ``entries`` are the offsets at which some region is entered, ``asked`` the places that were ever
    asked for, as offsets and `_Spot.jumps`; ``improved`` are the regions that the optimiser has
    been given; ``recalled``: an earlier run has translated what was hot.
    """

    code: bytes
    regions: list[Loaded] = field(default_factory=list)
    entries: set[int] = field(default_factory=set)
    asked: set[tuple[int, bool]] = field(default_factory=set)
    improved: list[Loaded] = field(default_factory=list)
    recalled: bool = False

    def is_there(self, offset: int, jumps: bool) -> bool:
        """Whether nothing is to be gained by asking for a place."""
        return (offset, jumps) in self.asked or (not jumps and offset in self.entries)


class _Spot(NamedTuple):
    """A place where time goes. ``jumps``: the jump there was sampled, so what is hot is the code
    before it, of which nothing else may ever be: samples are taken at jumps."""

    hart: int
    page: int
    offset: int
    jumps: bool


@dataclass(frozen=True, slots=True)
class _Order:
    """A job under way, and for whom."""

    hart: Hart
    page: int
    key: str
    job: Job


def _halved(heat: Mapping[_Place, float]) -> defaultdict[_Place, float]:
    """Half of the heat, without what is next to nothing."""
    return defaultdict(float, {place: value / 2 for place, value in heat.items() if value > 1})


class Conductor:
    """One thread, one worker process, for all harts of an accelerator."""

    def __init__(self, native: Interpreter, harts: Sequence[Hart], policy: Policy):
        self._isa, self._harts, self.policy = native.layout.isa, harts, policy
        self._shared = native.layout.shared
        self._salt = engine_digest(self._isa, self._shared)
        self._store = CodeStore()
        self._stored = self._store.keys() if policy.keep else set()
        joints = {joint_name(self._isa, j): native.library.address(j) for j in JOINTS}
        self._linker = Linker(joints)
        self._undecoded = native.library.address("h_decode")
        self._known: dict[str, _Known] = {}
        self._by_address: dict[int, tuple[str, Loaded]] = {}
        self._at: dict[tuple[int, int], _Known] = {}
        self._heat: defaultdict[_Spot, float] = defaultdict(float)
        self._region_heat: defaultdict[int, float] = defaultdict(float)
        self._entered: defaultdict[int, Counter[int]] = defaultdict(Counter)
        self._seen_at: dict[int, tuple[Hart, int]] = {}
        self._recent = 0.0
        self._worker = self._start_worker()
        self._orders: list[_Order] = []
        self._used: set[str] = set()
        self._chance = random.Random(policy.pieces)
        self._attending = threading.Lock()
        self._stop = threading.Event()
        self.statistics = Statistics()
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL))
        self._thread = threading.Thread(target=self._run, name="bimetal-translator", daemon=True)
        if not policy.wait:
            self._thread.start()

    def _start_worker(self) -> Worker | None:
        try:
            return Worker(self._isa, self._shared)
        except OSError as error:
            _log.warning("nothing is translated, only interpreted: %s", error)
            return None

    @property
    def counters(self) -> dict[str, int]:
        """See `Counted.counters`."""
        done = self.statistics
        return {
            "regions compiled": done.compiled,
            "regions from the store": done.from_store,
            "instructions compiled": done.instructions,
            "ms of the compiler's time": round(done.seconds * 1000),
        }

    def close(self) -> None:
        """End the thread and the worker, and keep what was learnt. Idempotent."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._worker is not None:
            self._worker.close()
        self._store.touch(self._used)
        self._store.close()

    def _run(self) -> None:
        interval = self.policy.interval
        while not self._stop.wait(interval):
            busy = False
            for hart in list(self._harts):
                self._greet(hart)
                busy = self._look(hart) or busy
            self._collect()
            self._order()
            busy = busy or bool(self._orders)
            interval = self.policy.interval if busy else self.policy.idle_interval

    def attend(self, hart: Hart) -> bool:
        """Translate all that a hart has sampled while it waits; whether there was anything."""
        with self._attending:
            self._greet(hart)
            self._look(hart)
            new = bool(self._heat)
            while (self._heat and not self._full) or self._orders:
                self._order()
                self._collect(None)
            return new

    # -- what is known of pages
    def _key(self, code: bytes) -> str:
        return hashlib.blake2b(code, digest_size=20, key=self._salt).hexdigest()

    def _of(self, code: bytes) -> tuple[str, _Known]:
        """What is known of a page's content, from memory or from the store."""
        key = self._key(code)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known(code)
            if key in self._stored:
                self._recall(key, known)
        return key, known

    @property
    def _full(self) -> bool:
        return len(self._by_address) + len(self._orders) >= self.policy.most

    def _recall(self, key: str, known: _Known) -> None:
        if self._full:
            return
        self._used.add(key)
        known.recalled = True
        for part, content in sorted(self._store.parts(key)):
            level, symbol, *entries = part.split(" ")
            offsets = tuple(int(entry, 16) for entry in entries)
            self._load(key, known, int(level), symbol, offsets, content)
            known.entries.update(offsets)
            self.statistics.from_store += 1

    def _load(
        self, key: str, known: _Known, level: int, symbol: str, entries: tuple[int, ...],
        content: bytes,
    ) -> Loaded:  # fmt: skip
        loaded = Loaded(level, entries, self._linker.load(content, symbol))
        known.regions.append(loaded)
        self._by_address[loaded.address] = (key, loaded)
        return loaded

    def _greet(self, hart: Hart) -> None:
        """Offer what is known of the pages that a hart has begun to execute."""
        pages = hart.pages()
        if pages < hart.pages_seen:  # its arena was emptied
            hart.pages_seen = 0
            self._heat.clear()
        for page in range(hart.pages_seen, pages):
            code = hart.code_of(page)
            _, known = self._of(code)
            self._at[hart.index, page] = known
            if known.regions:
                hart.offer(page, code, known.regions)
        hart.pages_seen = pages

    # -- where the time goes
    def _look(self, hart: Hart) -> bool:
        """Take a hart's samples; whether there were any."""
        samples = hart.samples()
        self._recent += samples.total()
        for (record, jump, in_region), count in samples.items():
            page, offset = hart.place(record)
            if record and 0 <= offset < PAGE:
                self._arrived(hart, page, offset, count)
            page, offset = hart.place(jump)
            if jump and not in_region and 0 <= offset < PAGE:
                self._heat[_Spot(hart.index, page, offset, True)] += self._weight(hart, page, count)
        if self._recent > self.policy.window:
            self._cool()
        return bool(samples)

    def _weight(self, hart: Hart, page: int, count: int) -> float:
        known = self._at.get((hart.index, page))
        recalled = known is not None and known.recalled
        repeated = self.statistics.from_store >= self.policy.repeated
        return count / self.policy.patience if recalled or repeated else count

    def _arrived(self, hart: Hart, page: int, offset: int, count: int) -> None:
        """Note where jumps led that found the budget spent."""
        handler, heat = hart.handler(page, offset), self._weight(hart, page, count)
        if handler in self._by_address:
            self._region_heat[handler] += heat
            self._entered[handler][offset] += count
            self._seen_at[handler] = hart, page
        else:
            self._heat[_Spot(hart.index, page, offset, False)] += heat

    def _cool(self) -> None:
        """Forget half of the heat, or in the end everything that ever runs would be translated."""
        self._recent /= 2
        self._heat, self._region_heat = _halved(self._heat), _halved(self._region_heat)

    def _order(self) -> None:
        """Give the worker the hottest places, or else the hottest regions to optimise."""
        while len(self._orders) < self.policy.jobs and not self._full:
            spot, heat = max(self._heat.items(), key=itemgetter(1), default=(None, 0))
            least = self._recent * self.policy.share
            if spot is not None and heat >= max(self.policy.hot, least):
                self._order_page(spot)
            elif not self._improve():
                if spot is None or heat < max(self.policy.warm, least) or self._orders:
                    break
                self._order_page(spot)

    def _order_page(self, hottest: _Spot) -> None:
        """Have the hot places of a page translated."""
        hart = next(hart for hart in self._harts if hart.index == hottest.hart)
        page = hottest.page
        spots = [spot for spot in self._heat if (spot.hart, spot.page) == hottest[:2]]
        spots.sort(key=lambda spot: -self._heat[spot])
        spots = spots[: self.policy.places]
        for spot in spots:
            del self._heat[spot]
        key, known = self._of(hart.code_of(page))
        if known.regions:
            hart.offer(page, known.code, known.regions)
        places = [(spot.offset, spot.jumps) for spot in spots]
        wanted = [place for place in places if not known.is_there(*place)]
        known.asked.update(wanted)
        entries, jumps = (tuple(o for o, jump in wanted if jump is kind) for kind in (False, True))
        if wanted:
            self._submit(hart, page, key, known, entries, self.policy.level, jumps)

    def _improve(self) -> bool:
        """Have the hottest region made again by the optimiser; whether one is hot enough."""
        address, heat = max(self._region_heat.items(), key=itemgetter(1), default=(0, 0))
        if heat < self.policy.very_hot:
            return False
        del self._region_heat[address]
        key, region = self._by_address[address]
        hart, page = self._seen_at[address]
        known = self._known[key]
        if region.level == 1 and region not in known.improved and hart.code_of(page) == known.code:
            known.improved.append(region)
            hottest = self._entered[address].most_common(self.policy.places)
            self._submit(hart, page, key, known, tuple(offset for offset, _ in hottest), 2)
        return True

    def _submit(
        self, hart: Hart, page: int, key: str, known: _Known, entries: tuple[int, ...], level: int,
        jumps: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        executed, policy = hart.executed(page, self._undecoded), self.policy
        if policy.unexecuted:
            executed = b"\1" * len(executed)
        if policy.pieces:
            entries, policy = policy.cut(self._chance, entries, executed, self._isa.granule)
        # Objects of many runs meet in one process, so each symbol is unique.
        symbol = f"region_{uuid.uuid4().hex}"
        there = tuple(known.entries)
        job = Job(known.code, entries, executed, level, symbol, policy, jumps, there)
        if self._worker is not None and self._worker.submit(job):
            self._orders.append(_Order(hart, page, key, job))

    def _collect(self, seconds: float | None = 0) -> None:
        """Take what the worker has finished, or finishes within some seconds (None: all)."""
        while (
            self._worker is not None
            and self._orders
            and (answer := self._worker.answer(seconds)) is not None
        ):
            self._deliver(self._orders.pop(0), answer)

    def _deliver(self, order: _Order, answer: Compiled) -> None:
        self.statistics.seconds += answer.seconds
        if not answer.content:
            return
        self.statistics.compiled += 1
        self.statistics.instructions += answer.instructions
        job, known = order.job, self._known[order.key]
        loaded = self._load(order.key, known, job.level, job.symbol, answer.entries, answer.content)
        known.entries.update(answer.entries)
        if self.policy.keep:
            part = " ".join((str(job.level), job.symbol, *(f"{e:x}" for e in answer.entries)))
            self._store.put(order.key, answer.content, part)
            self._used.add(order.key)
        order.hart.offer(order.page, known.code, [loaded])
