"""Where vCPUs spend their time: the hotness of places that are interpreted, and that of regions."""

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
    """A place where time goes. ``jumps``: the jump there was sampled, so what is hot is the code
    before it, of which nothing else may ever be: samples are taken at jumps."""

    vcpu: int
    page: int
    offset: int
    jumps: bool

    @property
    def place(self) -> Page:
        """Its page."""
        return self.vcpu, self.page


class HotRegion(NamedTuple):
    """A region by its address, where it was entered last, and the offsets where it was most."""

    address: int
    last: Spot
    entered: tuple[int, ...]


def _halved(hotness: Mapping[_Key, float]) -> defaultdict[_Key, float]:
    """Half of the hotness, without what is next to nothing."""
    return defaultdict(float, {place: value / 2 for place, value in hotness.items() if value > 1})


def _never(_: Page) -> bool:
    return False


class Hotness:
    """Samples, weighed, of the places and regions where budgets ran out.

    ``recent`` counts the samples of the last second or so, with which a place's share is judged.
    """

    def __init__(self, policy: Policy):
        self._policy = policy
        self._pages: dict[Page, defaultdict[Spot, float]] = {}
        self._regions: defaultdict[int, float] = defaultdict(float)
        self._entered: defaultdict[int, Counter[int]] = defaultdict(Counter)
        self._last: dict[int, Spot] = {}
        self.recent = self._familiar = 0.0

    def __bool__(self) -> bool:
        return bool(self._pages)

    # -- samples
    def count(self, samples: int, familiar: bool) -> None:
        """There were so many samples in a page; ``familiar``: an earlier run has translated what
        was hot there."""
        self.recent += samples
        self._familiar += samples if familiar else 0

    @property
    def repeats(self) -> bool:
        """Whether what runs has mostly run before."""
        return 2 * self._familiar > self.recent

    def at(self, spot: Spot, weight: float) -> None:
        """A place that is interpreted was sampled."""
        self._pages.setdefault(spot.place, defaultdict(float))[spot] += weight

    def within(self, region: int, spot: Spot, samples: int, weight: float) -> None:
        """The region at an address was sampled, entered at a place."""
        self._regions[region] += weight
        self._entered[region][spot.offset] += samples
        self._last[region] = spot

    def forget(self, page: Page) -> None:
        """Forget the places of a page, whose code is another one now."""
        self._pages.pop(page, None)

    def cool(self) -> None:
        """Forget half of it if there have been many samples, or in the end everything that ever
        runs would be translated."""
        if self.recent > self._policy.window:
            self.recent, self._familiar = self.recent / 2, self._familiar / 2
            self._regions = _halved(self._regions)
            for entered in self._entered.values():
                for offset, samples in entered.items():
                    entered[offset] = samples // 2
            halves = ((page, _halved(hotness)) for page, hotness in self._pages.items())
            self._pages = {page: hotness for page, hotness in halves if hotness}

    # -- what it leads to
    def least(self, samples: float) -> float:
        """The hotness that is worth the compiler's time: so many samples, and a share of all."""
        return max(samples, self.recent * self._policy.share)

    def hottest(self, busy: Callable[[Page], bool] = _never) -> tuple[Spot | None, float]:
        """The hottest place that is not in a ``busy`` page and its hotness, or None and 0."""
        pages = (hotness for page, hotness in self._pages.items() if not busy(page))
        places = (place for hotness in pages for place in hotness.items())
        return max(places, key=itemgetter(1), default=(None, 0.0))

    def take(self, page: Page) -> list[Spot]:
        """Remove and return the hottest places of a page."""
        hotness = self._pages[page]
        taken = sorted(hotness, key=lambda spot: -hotness[spot])[: self._policy.places]
        for spot in taken:
            del hotness[spot]
        if not hotness:
            del self._pages[page]
        return taken

    def take_all(self, least: float) -> Iterator[list[Spot]]:
        """Remove and return page by page what has so much hotness, the hottest page first."""
        spot, hotness = self.hottest()
        while spot is not None and hotness >= least:
            yield self.take(spot.place)
            spot, hotness = self.hottest()

    def take_region(self, busy: Callable[[Page], bool] = _never) -> HotRegion | None:
        """Remove and return the hottest region that is not in a ``busy`` page, if one is worth the
        optimiser's time.

        It is entered wherever the page's other hot regions are too: a loop that jumps by a table
        falls into several, as its arms are met one after the other, and shall be one in the end.
        """
        regions = (item for item in self._regions.items() if not busy(self._last[item[0]].place))
        address, hotness = max(regions, key=itemgetter(1), default=(0, 0.0))
        if hotness < self._policy.very_hot:
            return None
        last, entered = self._last[address], Counter[int]()
        for other in self._beside(last.place):
            entered += self._entered[other]
        del self._regions[address]
        places = entered.most_common(self._policy.places)
        return HotRegion(address, last, tuple(offset for offset, _ in places))

    def _beside(self, page: Page) -> list[int]:
        """The regions of a page that are not much less hot than those that the optimiser is given,
        or were so until now, when it was."""
        least = self._policy.very_hot / self._policy.near
        return [
            address
            for address, entered in self._entered.items()
            if self._last[address].place == page and entered.total() >= least
        ]
