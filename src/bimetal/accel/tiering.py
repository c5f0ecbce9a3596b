"""Deciding what is translated, by where vCPUs spend their time and what has been translated.

vCPUs take a sample at every poll, the record at which their budget ran out: a fair picture of where
time is spent, at no cost. Tiering reads the samples a few hundred times a second, has hot places
translated by the worker process, and offers vCPUs the regions for every page that they begin to
execute, so what an earlier run has translated is in place at once.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress

from msgspec.structs import replace

from ..base.clock import monotonic_seconds
from ..base.late import late
from ..base.log import EventLog
from ..base.threads import EndingThread
from ..codegen.identity import engine_digest
from ..codegen.interpreter import Interpreter
from ..codegen.job import Compiled
from ..codegen.layout import PAGE
from ..codegen.policy import Policy
from ..codegen.store import CodeStore
from ..codegen.ways_out import STUBS
from .code_page import CodePage
from .code_pages import CodePages
from .hotness import Hotness, HotRegion, Page, Spot
from .known_regions import KnownRegions
from .loader import Loader
from .order import Order, OrderMaker
from .orders import Orders
from .places import Places
from .resting import Resting, give_back
from .switching import QUICK_SWITCHING
from .tiered import Statistics, TieredVcpu

__all__ = ["ROUND_FAILED", "Tiering"]

ROUND_FAILED = "a look at the vCPUs went wrong"
"""The name of an event that should never happen."""

LOOK_SECONDS = 0.05
"""Between looks whether a vCPU that waits for the translator is wanted elsewhere."""

LEFT = 1000
"""The most pages whose code was hot before it changed that are remembered for the end."""

IDLE_COPY = 0.25
"""Seconds between looks at the sleeping vCPUs of a copy, of which there may be hundreds."""


class Tiering:
    """The tiering of all vCPUs of an accelerator: one thread and one worker process."""

    def __init__(
        self,
        native: Interpreter,
        vcpus: Sequence[TieredVcpu],
        policy: Policy,
        background: bool = False,
        features: int = -1,
    ):
        self._isa, self._vcpus, self.policy = native.layout.isa, vcpus, policy
        self._shared = native.layout.shared
        self._store: CodeStore | None = CodeStore()
        self._others = list[CodeStore]()
        self.events = EventLog("translator")
        loader = Loader([native.library.address(stub) for stub in STUBS])
        kept = self._store if policy.keep else None
        engine = engine_digest(self._isa, self._shared)
        self._regions = KnownRegions(kept, engine, loader, self._of_no_use)
        self.statistics = Statistics()
        self._code_pages = CodePages(self._regions, features, self.statistics)
        self._places = Places(vcpus, native.library.address("h_decode"))
        self._improved: set[int] = set()
        self._hotness = Hotness(policy)
        self._background = background and policy.keep
        self._orders = Orders(self._isa, self._shared)
        self._maker, self._resting = OrderMaker(policy, self._isa.granule), Resting()
        self._left = deque[Order](maxlen=LEFT)
        self._attending = threading.Lock()
        self._stop = threading.Event()
        self._closed = False
        QUICK_SWITCHING.begin()
        self._thread = EndingThread(self._run, "bimetal-translator")

    def begin(self) -> None:
        """A vCPU begins to run. Of several calls only the first one counts."""
        with self._attending:
            if not (self.policy.wait or self._closed or self._thread.ident):
                if self.policy.jobs and self._code_pages.begin_empty(len(self._isa.modes)):
                    self._orders.expect()
                self._thread.start()

    @property
    def counters(self) -> dict[str, int]:
        """See `Counted.counters`."""
        return self.statistics.counters

    def close(self) -> None:
        """End the thread and the worker, and store what was learnt. Idempotent."""
        self._stop.set()
        self._thread.ended()
        if not self._closed:
            self._closed = True
            QUICK_SWITCHING.end()
            self._orders.close()
            self._leave()
            self._forget()
            if self._store:
                self._store.close()

    def quiet(self) -> AbstractContextManager[object]:
        """A context in which the thread does nothing."""
        return self._attending

    def forked(self) -> None:
        """This process is a copy of the one that translates: it goes on with what is translated,
        and has a store and a worker of its own from `begin` on."""
        self._orders.forked()
        # SQLite forbids even to close what another process has opened.
        self._others += [self._store] if self._store else []
        self._store = None
        self._regions.keep_in(None)
        self._background, self._attending = False, threading.Lock()
        self._stop = threading.Event()
        self._thread = EndingThread(self._run_late, "bimetal-translator")

    def _forget(self) -> None:
        """Free everything that was loaded: no vCPU runs any more."""
        for held in (self._places, self._code_pages, self._improved):
            held.clear()
        self._hotness = Hotness(self.policy)
        self._regions.close()

    def _leave(self) -> None:
        """Have another process translate what is hot and was not translated in time."""
        if self._background:
            for vcpu in self._vcpus:
                self._greet(vcpu)
                self._look(vcpu)
            left = filter(Order.resume, self._left)
            orders = itertools.chain(self._orders, left, self._left_over(), self._improvements())
            jobs = (order.job for order in orders)
            with suppress(ImportError):  # the package is gone, and only time is lost
                translate = late("bimetal.codegen.background:translate_in_background")
                translate(self._isa, self._shared, jobs, self._store)

    def _left_over(self) -> Iterator[Order]:
        for spots in self._hotness.take_all(self._worth_leaving):
            if order := self._for_page(spots):
                yield order

    def _improvements(self) -> Iterator[Order]:
        """Orders for regions that would be optimised had the run not been patient."""
        for hot in self._hotness.take_regions(self._worth_improving):
            if order := self._improvement(hot):
                yield order

    def _worth_improving(self, page: Page) -> float:
        """The hotness of a region in a page that is worth optimising when the machine has ended."""
        policy = self.policy
        return policy.very_hot / (policy.patience if self._repeats(page) else 1)

    def _worth_leaving(self, page: Page) -> float:
        """The hotness of a place in a page that is worth translating when the machine has ended."""
        return self.policy.later if self._repeats(page) else self.policy.warm

    def _run_late(self) -> None:
        with self._attending:
            self.policy = replace(self.policy, idle_interval=IDLE_COPY)
            self._store = CodeStore()
            self._regions.keep_in(self._store if self.policy.keep else None)
        self._run()

    def _run(self) -> None:
        interval, due = self.policy.new_interval, 0.0
        while not self._stop.wait(interval):
            try:
                with self._attending:
                    interval, due = self._round(due)
            except Exception as error:  # neither the machine nor this thread may stop for it
                self.events.host_error(ROUND_FAILED, repr(error))

    def _round(self, due: float) -> tuple[float, float]:
        """Welcome new pages and, if it is ``due``, do all else; seconds until the next round, and
        when all is due again."""
        vcpus, now, policy = list(self._vcpus), monotonic_seconds(), self.policy
        new = sum(self._greet(vcpu) for vcpu in vcpus)
        if new and now < due:
            return policy.new_interval, due
        busy = sum(self._look(vcpu) for vcpu in vcpus)
        self._collect()
        self._order()
        if policy.keep and self._resting.due(busy, now):
            self._rest()
        interval = self._between_looks if busy or self._orders else policy.idle_interval
        new = new or not (self._places or self._hotness.recent)
        return policy.new_interval if new else interval, now + interval

    @property
    def _between_looks(self) -> float:
        """Seconds between looks at vCPUs that run."""
        repeats = self._hotness.repeats and not self._orders
        return self.policy.repeat_interval if repeats else self.policy.interval

    def attend(self, vcpu: TieredVcpu) -> bool:
        """Translate all that a vCPU has sampled while it waits, or until it is kicked; whether any
        of it was interpreted."""
        with self._attending:
            self._greet(vcpu)
            before = self._hotness.interpreted
            self._look(vcpu)
            new = self._hotness.interpreted > before
            self._order()
            while self._orders and not vcpu.kicked:
                self._collect(LOOK_SECONDS)
                self._order()
            return new

    def _rest(self) -> None:
        """Do without what an idle guest hardly needs; what was hot is left for the end."""
        self._orders.rest()
        if not self._orders.copied and self._resting.pays(self._vcpus):
            self._left += filter(Order.leave, self._left_over() if self._background else ())
            self._hotness.forget_places()
            self._places.clear()
            give_back(self._vcpus)

    # -- what is known of pages
    def _of(self, code: bytes, mode: int) -> CodePage:
        """What is known about a page's content in a decode mode, in memory or in the store."""
        return self._code_pages.of(code, mode, self._room)

    @property
    def remembered(self) -> int:
        """The number of different page contents about which something is known."""
        return len(self._code_pages)

    @property
    def _room(self) -> int:
        """How many more regions may be compiled or loaded."""
        return self.policy.most - len(self._regions) - len(self._orders)

    def _of_no_use(self, error: str) -> None:
        self.events.host_error("a region in the store is of no use", error)

    def _greet(self, vcpu: TieredVcpu) -> bool:
        """Offer a vCPU the regions for pages that it has begun to execute or that have changed;
        whether there are such pages."""
        pages = vcpu.decoded()
        for page in pages:
            code, mode = vcpu.code_of(page), vcpu.mode_of(page)
            code_page = self._of(code, mode)
            before = self._places.enter((vcpu.index, page), code_page)
            if before is not None:
                self._changed((vcpu.index, page), before)
            if code_page.regions:
                vcpu.offer(page, code, code_page.regions, mode)
        return bool(pages)

    def _changed(self, page: Page, before: CodePage) -> None:
        """Forget what was hot in a page that has other code now, which the next run will meet too:
        kernels free what they only start with, and write other instructions into their code."""
        if before.decoded and self._hotness.in_page(page) >= self._worth_leaving(page):
            places = (spot.within_page for spot in self._hotness.take(page))
            order = self._maker.for_places(before, before.decoded, places)
            if order and order.leave():
                self._left.append(order)
        self._hotness.forget(page)

    # -- where the time goes
    def _look(self, vcpu: TieredVcpu) -> int:
        """Take a vCPU's samples; how many there were."""
        samples = vcpu.samples()
        for (record, jump, in_region), count in samples.items():
            page, offset = vcpu.place(record)
            if record and 0 <= offset < PAGE:
                there = self._places.home(Spot(vcpu.index, page, offset, False))
                self._arrived(there, vcpu.handler(page, offset), count, bool(in_region))
            page, offset = vcpu.place(jump)
            if jump and not in_region and 0 <= offset < PAGE:
                self._met(self._places.home(Spot(vcpu.index, page, offset, True)), count)
        self._hotness.looked()
        return samples.total()

    def _familiar(self, page: Page) -> bool:
        code_page = self._places.get(page)
        return code_page is not None and code_page.recalled

    def _repeats(self, page: Page) -> bool:
        return self._hotness.repeats or self._familiar(page)

    def _weight(self, spot: Spot, samples: int) -> float:
        return samples / self.policy.patience if self._repeats(spot.place) else samples

    def _arrived(self, spot: Spot, handler: int, samples: int, inside: bool) -> None:
        """Count the target of a jump, ``inside`` a region or not, that found the budget spent, and
        that has this handler."""
        weight = self._weight(spot, samples)
        self._hotness.count(samples, weight, self._familiar(spot.place))
        if self._regions.at(handler):
            self._hotness.within(handler, spot, samples, weight, inside)
        else:
            self._met(spot, samples)

    def _met(self, spot: Spot, samples: int) -> None:
        """Count samples of a place that is interpreted, unless its region was offered since, or its
        page is so new that there may be one in the store."""
        code_page = self._places.get(spot.place)
        if code_page is not None and not code_page.is_there(spot.offset, spot.jumps):
            self._hotness.at(spot, self._weight(spot, samples))
            if self._background:
                self._note(spot, code_page)

    def _note(self, spot: Spot, code_page: CodePage) -> None:
        """Note what is executed of a hot page, which may change: again when it is twice as hot."""
        hotness = self._hotness.in_page(spot.place)
        if hotness >= max(self._worth_leaving(spot.place), 2 * code_page.noted):
            code_page.noted = hotness
            code_page.decoded = self._places.executed(spot.place)

    def _order(self) -> None:
        """Give the worker the hottest places, or else the hottest regions to optimise."""
        orders, pays = self._orders, self._hotness.pays_for_worker()
        while len(orders) < self.policy.jobs and self._room > 0 and orders.may_start(pays):
            least = self._hotness.least(min(self.policy.hot, self.policy.warm))
            spot, hotness = self._hotness.hottest(self._under_way, least)
            if spot is not None and hotness >= self._hotness.least(self.policy.hot):
                self._submit(self._for_page(self._hotness.take(spot.place)))
            elif not self._improve():
                if spot is None or hotness < self._hotness.least(self.policy.warm) or orders:
                    break
                self._submit(self._for_page(self._hotness.take(spot.place)))
        orders.give_way()

    def _for_page(self, spots: Sequence[Spot]) -> Order | None:
        """An order for hot places of one page; None if nothing would be gained."""
        vcpu, page = self._vcpu(spots[0].vcpu), spots[0].page
        code_page = self._of(vcpu.code_of(page), vcpu.mode_of(page))
        decoded = self._places.executed(spots[0].place)
        return self._maker.for_places(code_page, decoded, (spot.within_page for spot in spots))

    def _under_way(self, page: Page) -> bool:
        """Whether a region for a page's content is being compiled: hot places may be in it."""
        code_page = self._places.get(page)
        return any(order.code_page is code_page for order in self._orders)

    def _improve(self) -> bool:
        """Have the hottest region optimised; whether one is hot enough."""
        hot = self._hotness.take_region(self._under_way)
        if hot is not None:
            self._submit(self._improvement(hot))
        return hot is not None

    def _improvement(self, hot: HotRegion) -> Order | None:
        """An order for a hot region, optimised; None if it is, was asked for before, or was not
        entered lately."""
        known = self._regions.at(hot.address)
        assert known is not None
        vcpu, page = self._vcpu(hot.last.vcpu), hot.last.page
        code_page = self._of(vcpu.code_of(page), vcpu.mode_of(page))
        new = hot.address not in self._improved and known.loaded in code_page.regions
        if known.loaded.level != 1 or not new or not hot.entered:
            return None
        self._improved.add(hot.address)
        decoded = self._places.executed(hot.last.place)
        return self._maker.improved(code_page, decoded, hot, vcpu.misaligned())

    def _vcpu(self, index: int) -> TieredVcpu:
        return next(vcpu for vcpu in self._vcpus if vcpu.index == index)

    def _submit(self, order: Order | None) -> None:
        if order:
            self._orders.submit(order)

    def _collect(self, seconds: float = 0) -> None:
        """Take what the worker has finished, or finishes within some seconds of each other."""
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
        known = self._regions.add(order.job, answer)
        fitting = self._code_pages.served_by(known)
        for (index, page), code_page in self._places.holding(fitting):
            mode = code_page.decoding.mode
            self._vcpu(index).offer(page, code_page.code, [known.loaded], mode)
