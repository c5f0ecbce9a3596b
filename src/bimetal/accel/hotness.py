"""Where vCPUs spend their time: the hotness of interpreted places and of regions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import NamedTuple, TypeVar

from ..codegen.policy import Policy

__all__ = ["HotRegion", "Hotness", "Page", "Spot"]

_Key = TypeVar("_Key")
Page = tuple[int, int]
"""A vCPU, and one of its decoded pages."""


class Spot(NamedTuple):
    """A sampled place: an ``offset`` in a page of a vCPU. ``jumps`` says that a jump there found
    the budget spent, so the hot code is the straight run before it, which has no sample of its
    own."""

    vcpu: int
    page: int
    offset: int
    jumps: bool

    @property
    def place(self) -> Page:
        """The vCPU and page that it is in."""
        return self.vcpu, self.page

    @property
    def within_page(self) -> tuple[int, bool]:
        """Which place of its page it is."""
        return self.offset, self.jumps


class HotRegion(NamedTuple):
    """A hot region: its address, where it was entered last, and the offsets that were entered,
    most often first, and of these the ones that were entered ``seldom``."""

    address: int
    last: Spot
    entered: tuple[int, ...]
    seldom: tuple[int, ...]


def _halved(hotness: Mapping[_Key, float], least: float) -> defaultdict[_Key, float]:
    """Half of the hotness, without what is then less than ``least``."""
    halves = ((place, value / 2) for place, value in hotness.items())
    return defaultdict(float, {place: half for place, half in halves if half >= least})


def _never(_: Page) -> bool:
    return False


class Hotness:
    """Weighted samples of the places and regions where budgets ran out.

    ``recent`` counts the samples of about the last second. A place's share is one of their weights:
    where samples count less, a place needs no larger share.
    """

    def __init__(self, policy: Policy):
        self._policy = policy
        self._pages: dict[Page, defaultdict[Spot, float]] = {}
        self._regions: defaultdict[int, float] = defaultdict(float)
        self._entered: defaultdict[int, Counter[int]] = defaultdict(Counter)
        self._last: dict[int, Spot] = {}
        """Where a region was entered last, unless the code there is another one by now."""
        self._by_page: defaultdict[Page, dict[int, None]] = defaultdict(dict)
        """The same by page: the regions."""
        self._new: set[int] = set()
        """The regions that this look has seen first."""
        self.recent = self._weighed = self._familiar = 0.0
        self.interpreted = 0
        """How often samples of an interpreted place came."""
        # What is to be gained by translating hot places.
        self._gain = 0.0
        # No place, and no region, is hotter: most looks can be spared.
        self._peak = self._region_peak = 0.0

    # -- samples
    def count(self, samples: int, weight: float, familiar: bool) -> None:
        """Count samples in a page, which have a weight together; ``familiar`` says that an earlier
        run has translated what was hot there."""
        self.recent += samples
        self._weighed += weight
        self._familiar += samples if familiar else 0

    @property
    def repeats(self) -> bool:
        """Whether most of the recent samples are in code that an earlier run has translated."""
        return 2 * self._familiar > self.recent

    def at(self, spot: Spot, weight: float) -> None:
        """Add a sample of an interpreted place."""
        self.interpreted += 1
        hotness = self._pages.setdefault(spot.place, defaultdict(float))
        hotness[spot] = hot = hotness[spot] + weight
        self._peak = max(self._peak, hot)
        if hot >= self._policy.hot:
            self._gain += weight if hot - weight >= self._policy.hot else hot

    def within(
        self, region: int, spot: Spot, samples: int, weight: float, inside: bool = True
    ) -> None:
        """Add samples of the region at an address, entered at a place, from ``inside`` or not."""
        if region not in self._regions and region not in self._entered:
            self._new.add(region)
        self._regions[region] = hot = self._regions[region] + weight
        self._region_peak = max(self._region_peak, hot)
        # When a region is seen first, most came before it was there: that code was interpreted.
        if inside or region not in self._new:
            self._entered[region][spot.offset] += samples
        self._leave(region)
        self._last[region] = spot
        self._by_page[spot.place][region] = None

    def _leave(self, region: int) -> None:
        """A region is not known to be in a page."""
        last = self._last.pop(region, None)
        if last is not None:
            del self._by_page[last.place][region]
            if not self._by_page[last.place]:
                del self._by_page[last.place]

    def forget(self, page: Page) -> None:
        """Forget the places of a page whose code has changed, and which regions are there: they may
        be in others, too."""
        self._pages.pop(page, None)
        for region in self._by_page.pop(page, ()):
            del self._last[region]

    def forget_places(self) -> None:
        """Forget the places of all pages."""
        self._pages.clear()
        self._gain = 0.0

    def looked(self) -> None:
        """All samples of a look have been added. Halve everything if there have been many;
        otherwise everything that ever runs would be translated in the end. In a run that repeats
        an earlier one hardly anything is, and what it began with is to be as hot at its end as what
        it ended with, unless there are many places."""
        self._new.clear()
        if self.recent > self._policy.window:
            places = sum(map(len, self._pages.values()))
            kept = self.repeats and places <= self._policy.remembered
            self.recent, self._familiar = self.recent / 2, self._familiar / 2
            self._weighed, self._gain = self._weighed / 2, self._gain / 2
            least = self._policy.later / 2
            self._regions = _halved(self._regions, least)
            for region in [*self._entered]:
                self._cool(region)
            if not kept:
                halves = ((page, _halved(hotness, least)) for page, hotness in self._pages.items())
                self._pages = {page: hotness for page, hotness in halves if hotness}

    def _cool(self, region: int) -> None:
        """Halve how often a region was entered; of what has not been for long, nothing is known."""
        counts = self._entered[region]
        left = Counter({offset: count // 2 for offset, count in counts.items() if count > 1})
        if left or region in self._regions:
            self._entered[region] = left
        else:
            del self._entered[region]
            self._leave(region)

    # -- what it leads to
    def pays_for_worker(self) -> bool:
        """Whether what was sampled is worth starting a worker for: a region is very hot, or places
        are that hot together, though they may have cooled since."""
        return self._region_peak >= self._policy.very_hot or self._gain >= self._policy.start

    def least(self, samples: float) -> float:
        """The hotness that makes a place worth translating: ``samples``, and a share of all recent
        ones by weight."""
        return max(samples, self._weighed * self._policy.share)

    def hottest(
        self, busy: Callable[[Page], bool] = _never, least: float = 0.0
    ) -> tuple[Spot | None, float]:
        """The hottest place that is not in a ``busy`` page and its hotness, or None and 0. Who is
        not interested in places that are less hot than ``least`` may get any of these, or none."""
        if self._peak < least:
            return None, 0.0
        pages = (hotness for page, hotness in self._pages.items() if not busy(page))
        places = (place for hotness in pages for place in hotness.items())
        found = max(places, key=itemgetter(1), default=(None, 0.0))
        if found[1] < least:
            self._peak = max((max(each.values()) for each in self._pages.values()), default=0.0)
        return found

    def in_page(self, page: Page) -> float:
        """The hotness of the hottest place of a page, 0 if none is known."""
        return max(self._pages.get(page, {}).values(), default=0.0)

    def take(self, page: Page) -> list[Spot]:
        """Remove and return the hottest places of a page."""
        hotness = self._pages[page]
        taken = sorted(hotness, key=lambda spot: -hotness[spot])[: self._policy.places]
        for spot in taken:
            del hotness[spot]
        if not hotness:
            del self._pages[page]
        return taken

    def take_all(self, least: Callable[[Page], float]) -> Iterator[list[Spot]]:
        """Remove and return page by page the hottest places of those that have a place as hot as is
        worth it in that page; the hottest page first."""
        hottest = {page: max(hotness.values()) for page, hotness in self._pages.items()}
        for page in sorted(hottest, key=lambda page: -hottest[page]):
            if hottest[page] >= least(page):
                yield self.take(page)

    def take_region(self, busy: Callable[[Page], bool] = _never) -> HotRegion | None:
        """Remove and return the hottest region that is not in a ``busy`` page, if one is worth
        optimising.

        It gets the entries of the page's other hot regions too: a loop with a jump table becomes
        several regions at first, as its arms are met one after the other, and one in the end.
        """
        if self._region_peak < self._policy.very_hot:
            return None
        regions = (
            (address, self._regions[address])
            for address, last in self._last.items()
            if address in self._regions and not busy(last.place)
        )
        address, hotness = max(regions, key=itemgetter(1), default=(0, 0.0))
        if hotness < self._policy.very_hot:
            self._region_peak = max(self._regions.values(), default=0.0)
            return None
        return self._take_region(address)

    def take_regions(self, least: Callable[[Page], float]) -> Iterator[HotRegion]:
        """Remove and return all regions that are as hot as is worth it in their page, the hottest
        first."""
        there = (address for address in self._regions if address in self._last)
        for address in sorted(there, key=lambda address: -self._regions[address]):
            if self._regions[address] >= least(self._last[address].place):
                yield self._take_region(address)

    def _take_region(self, address: int) -> HotRegion:
        last, entered = self._last[address], Counter[int]()
        for each in {address, *self._beside(last.place)}:
            entered += self._entered[each]
        del self._regions[address]
        places = entered.most_common(self._policy.places)
        least = self._policy.seldom * entered.total()
        seldom = tuple(offset for offset, count in places if count < least)
        return HotRegion(address, last, tuple(offset for offset, _ in places), seldom)

    def _beside(self, page: Page) -> list[int]:
        """The regions of a page that are nearly hot enough to be optimised, or were optimised for
        being so."""
        least = self._policy.very_hot / self._policy.near
        return [
            address for address in self._by_page[page] if self._entered[address].total() >= least
        ]
