"""Deciding what is translated: where harts spend their time, and what is known of it already.

Harts leave a sample at every poll: the record at which their budget ran out, a fair picture of
where time goes that costs nothing. The conductor reads the samples a few hundred times a second,
has hot places translated by the worker process, and offers harts the regions of every page that
they begin to execute, so what an earlier run has translated is in place at once.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakValueDictionary

from ..base.log import EventLog
from ..codegen.afterwards import translate_afterwards
from ..codegen.interpreter import Interpreter, engine_digest
from ..codegen.job import Compiled, Job
from ..codegen.layout import PAGE
from ..codegen.native import Linker
from ..codegen.part import Part
from ..codegen.policy import Policy
from ..codegen.region import JOINTS
from ..codegen.store import CodeStore
from ..codegen.worker import joint_name
from .heat import Heat, Page, Spot
from .known import Known, Loaded
from .orders import Order, Orders
from .switching import QUICK_SWITCHING

__all__ = ["ROUND_FAILED", "Conductor", "Statistics"]

ROUND_FAILED = "a look at the harts went wrong"
"""An event that no run should have."""


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

    def samples(self) -> Counter[tuple[int, int, int]]: ...
    def place(self, record: int) -> tuple[int, int]: ...
    def handler(self, page: int, offset: int) -> int: ...
    def decoded(self) -> Iterable[int]: ...
    def code_of(self, page: int) -> bytes: ...
    def executed(self, page: int, undecoded: int) -> bytes: ...
    def offer(self, page: int, code: bytes, regions: list[Loaded]) -> None: ...


class Conductor:
    """One thread, one worker process, for all harts of an accelerator."""

    def __init__(
        self, native: Interpreter, harts: Sequence[Hart], policy: Policy, afterwards: bool = False
    ):
        self._isa, self._harts, self.policy = native.layout.isa, harts, policy
        self._shared = native.layout.shared
        self._salt = engine_digest(self._isa, self._shared)
        self._store = CodeStore()
        self._stored = self._store.keys() if policy.keep else set()
        joints = {joint_name(self._isa, j): native.library.address(j) for j in JOINTS}
        self._linker = Linker(joints)
        self._undecoded = native.library.address("h_decode")
        # Content that no hart has decoded now, and that has no regions, is forgotten.
        self._known = WeakValueDictionary[str, Known]()
        self._by_address: dict[int, tuple[Known, Loaded]] = {}
        self._at: dict[Page, Known] = {}
        self._heat = Heat(policy)
        self._afterwards = afterwards and policy.keep
        self._orders = Orders(self._isa, self._shared)
        self.events = EventLog("translator")
        self._used: set[str] = set()
        self._chance = random.Random(policy.pieces)
        self._attending = threading.Lock()
        self._stop = threading.Event()
        self.statistics = Statistics()
        self._closed = False
        QUICK_SWITCHING.begin()
        self._thread = threading.Thread(target=self._run, name="bimetal-translator", daemon=True)
        if not policy.wait:
            self._thread.start()

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
        if not self._closed:
            self._closed = True
            QUICK_SWITCHING.end()
            self._orders.close()
            self._leave()
            self._store.touch(self._used)
            self._store.close()
            self._forget()

    def _forget(self) -> None:
        """Give everything back that was known and loaded: no hart runs any more."""
        self._by_address.clear()
        self._at.clear()
        self._known.clear()
        self._linker.close()

    def _leave(self) -> None:
        """Have another process translate what is hot and was not translated in time."""
        if self._afterwards:
            for hart in self._harts:
                self._greet(hart)
                self._look(hart)
            orders = itertools.chain(self._orders, self._left_over())
            translate_afterwards(
                self._isa,
                self._shared,
                ((order.known.key, order.job) for order in orders),
                self._store,
            )

    def _left_over(self) -> Iterator[Order]:
        for spots in self._heat.take_all(self.policy.warm):
            if order := self._for_page(spots):
                yield order

    def _run(self) -> None:
        interval = self.policy.interval
        while not self._stop.wait(interval):
            try:
                interval = self._round()
            except Exception as error:  # the machine runs on, and so does the thread
                self.events.host_error(ROUND_FAILED, repr(error))

    def _round(self) -> float:
        """Look at all harts, and have done what there is to do; seconds until the next time."""
        harts = list(self._harts)
        new = sum(self._greet(hart) for hart in harts)
        busy = sum(self._look(hart) for hart in harts)
        self._collect()
        self._order()
        if new:
            return self.policy.new_interval
        return self.policy.interval if busy or self._orders else self.policy.idle_interval

    def attend(self, hart: Hart) -> bool:
        """Translate all that a hart has sampled while it waits; whether there was anything."""
        with self._attending:
            self._greet(hart)
            self._look(hart)
            new = bool(self._heat)
            self._order()
            while self._orders:
                self._collect(None)
                self._order()
            return new

    # -- what is known of pages
    def _of(self, code: bytes) -> Known:
        """What is known of a page's content, from memory or from the store."""
        key = hashlib.blake2b(code, digest_size=20, key=self._salt).hexdigest()
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Known(key, code)
            if key in self._stored:
                self._recall(known)
        return known

    @property
    def remembered(self) -> int:
        """Contents of pages of which something is known."""
        return len(self._known)

    @property
    def _full(self) -> bool:
        return len(self._by_address) + len(self._orders) >= self.policy.most

    def _recall(self, known: Known) -> None:
        if self._full:
            return
        self._used.add(known.key)
        known.recalled = True
        for name, content in sorted(self._store.parts(known.key)):
            try:
                self._load(known, Part.parse(name), content)
                self.statistics.from_store += 1
            except Exception as error:
                self.events.host_error("a region in the store is of no use", repr(error))
                self._store.drop(known.key, name)

    def _load(self, known: Known, part: Part, content: bytes) -> Loaded:
        loaded = known.add(part, self._linker.load(content, part.symbol))
        self._by_address[loaded.address] = (known, loaded)
        return loaded

    def _greet(self, hart: Hart) -> bool:
        """Offer what is known of the pages that a hart has begun to execute, or that have changed;
        whether there are any."""
        pages = hart.decoded()
        for page in pages:
            code = hart.code_of(page)
            known = self._of(code)
            if self._at.get((hart.index, page)) is not known:
                self._heat.forget((hart.index, page))
                self._at[hart.index, page] = known
            if known.regions:
                hart.offer(page, code, known.regions)
        return bool(pages)

    # -- where the time goes
    def _look(self, hart: Hart) -> bool:
        """Take a hart's samples; whether there were any."""
        samples = hart.samples()
        for (record, jump, in_region), count in samples.items():
            page, offset = hart.place(record)
            if record and 0 <= offset < PAGE:
                self._arrived(Spot(hart.index, page, offset, False), hart, count)
            page, offset = hart.place(jump)
            if jump and not in_region and 0 <= offset < PAGE:
                spot = Spot(hart.index, page, offset, True)
                self._heat.at(spot, self._weight(spot, count))
        self._heat.cool()
        return bool(samples)

    def _familiar(self, spot: Spot) -> bool:
        known = self._at.get(spot.place)
        return known is not None and known.recalled

    def _weight(self, spot: Spot, samples: int) -> float:
        repeats = self._heat.repeats or self._familiar(spot)
        return samples / self.policy.patience if repeats else samples

    def _arrived(self, spot: Spot, hart: Hart, samples: int) -> None:
        """Note where jumps led that found the budget spent."""
        self._heat.count(samples, self._familiar(spot))
        weight, handler = self._weight(spot, samples), hart.handler(spot.page, spot.offset)
        if handler in self._by_address:
            self._heat.within(handler, spot, samples, weight)
        else:
            self._heat.at(spot, weight)

    def _order(self) -> None:
        """Give the worker the hottest places, or else the hottest regions to optimise."""
        while len(self._orders) < self.policy.jobs and not self._full:
            spot, heat = self._heat.hottest(self._under_way)
            if spot is not None and heat >= self._heat.least(self.policy.hot):
                self._submit(self._for_page(self._heat.take(spot.place)))
            elif not self._improve():
                if spot is None or heat < self._heat.least(self.policy.warm) or self._orders:
                    break
                self._submit(self._for_page(self._heat.take(spot.place)))

    def _for_page(self, spots: Sequence[Spot]) -> Order | None:
        """An order for hot places of one page; None if nothing is to be gained."""
        known = self._of(self._hart(spots[0]).code_of(spots[0].page))
        places = [(spot.offset, spot.jumps) for spot in spots]
        wanted = [place for place in places if not known.is_there(*place)]
        known.asked.update(wanted)
        if not wanted:
            return None
        entries, jumps = (tuple(o for o, jump in wanted if jump is kind) for kind in (False, True))
        return self._new_order(spots[0], known, entries, self.policy.level, jumps)

    def _under_way(self, page: Page) -> bool:
        """Whether a region is being made of a page, or of the same content elsewhere: what is hot
        there besides may be part of it."""
        known = self._at.get(page)
        return any(order.known is known for order in self._orders)

    def _improve(self) -> bool:
        """Have the hottest region made again by the optimiser; whether one is hot enough."""
        hot = self._heat.take_region(self._under_way)
        if hot is None:
            return False
        known, region = self._by_address[hot.address]
        code = self._hart(hot.last).code_of(hot.last.page)
        if region.level == 1 and region not in known.improved and code == known.code:
            known.improved.append(region)
            self._submit(self._new_order(hot.last, known, hot.entered, 2))
        return True

    def _hart(self, spot: Spot) -> Hart:
        return next(hart for hart in self._harts if hart.index == spot.hart)

    def _new_order(
        self, spot: Spot, known: Known, entries: tuple[int, ...], level: int,
        jumps: tuple[int, ...] = (),
    ) -> Order:  # fmt: skip
        policy, decoded = self.policy, self._hart(spot).executed(spot.page, self._undecoded)
        executed = known.executed(decoded, self._isa.granule)
        if policy.unexecuted:
            executed = b"\1" * len(executed)
        if policy.pieces:
            entries, policy = policy.cut(self._chance, entries, executed, self._isa.granule)
        # Objects of many runs meet in one process, so each symbol is unique.
        symbol = f"region_{uuid.uuid4().hex}"
        there = tuple(known.entries)
        job = Job(known.code, entries, executed, level, symbol, policy, jumps, there)
        return Order(known, job)

    def _submit(self, order: Order | None) -> None:
        if order:
            self._orders.submit(order)

    def _collect(self, seconds: float | None = 0) -> None:
        """Take what the worker has finished, or finishes within some seconds (None: all)."""
        for order, answer in self._orders.collect(seconds):
            try:
                self._deliver(order, answer)
            except Exception as error:
                self.events.host_error("a translated region is of no use", repr(error))

    def _deliver(self, order: Order, answer: Compiled) -> None:
        self.statistics.seconds += answer.seconds
        if not answer.content:
            return
        self.statistics.compiled += 1
        self.statistics.instructions += len(answer.steps)
        known, part = order.known, answer.part(order.job)
        loaded = self._load(known, part, answer.content)
        if self.policy.keep:
            self._store.put(known.key, answer.content, part.name)
            self._used.add(known.key)
        harts = {hart.index: hart for hart in self._harts}
        for (index, page), content in self._at.items():
            if content is known:
                harts[index].offer(page, known.code, [loaded])
