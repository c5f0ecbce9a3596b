"""When code is translated, and in what pieces: one policy, and the modes that stress the engine.

``BIMETAL_STRESS=everything,forget`` replaces the usual policy for every machine of the process.
Its words can be combined:

=========== ==========================================================================
everything  vCPUs wait until each place that they come to has been translated, so nearly all
            code runs in regions
optimise    the same, with optimised regions from the start
forget      the same, and every few polls a vCPU drops all that it has decoded and
            installed, and starts again
pieces      the same, in regions of 1 to 8 instructions that are also entered at random places;
            ``pieces=SEED`` chooses other ones
exact       regions check the budget exactly where the interpreter does, so that vCPUs poll,
            and are interrupted, after the same instructions in both
records     no runs: what is not in regions is executed from records
runs        no regions, only runs, from the first execution
=========== ==========================================================================

Regions that are translated under such a policy do not go into the store.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from ..base.errors import BimetalError, ExitCode

if TYPE_CHECKING:
    import random

__all__ = ["USUAL", "VARIABLE", "Policy", "configured", "stressed"]

VARIABLE = "BIMETAL_STRESS"


class Policy(Struct, frozen=True):
    """The numbers by which tiering and the translator decide."""

    interval: float = 0.003
    idle_interval: float = 0.03
    """Seconds between looks at the vCPUs, while they run and while they sleep."""

    repeat_interval: float = 0.012
    """Seconds between looks while most samples are in pages that earlier runs have translated.
    There little is found, and a vCPU that leaves native code may wait for whoever looks."""

    new_interval: float = 0.0003
    """Seconds between looks for pages that are new to the vCPUs, while they come to such: a page
    whose regions are in the store is interpreted until they have been offered."""

    hot: int = 4
    """Samples (of some sixteen thousand instructions each) that make a place worth translating: the
    interpreter takes as long for them as the worker for a few instructions of a region."""

    warm: int = 2
    """The same number while the worker is idle."""

    very_hot: int = 400
    """Samples in a quick region that make it worth optimising."""

    near: int = 8
    """When a region is optimised, other regions of the page with up to this many times fewer
    samples are made part of it."""

    seldom: float = 1 / 50
    """The share of a region's samples up to which one of its entries is needed seldom: by vCPUs
    that were interpreting there when the region became ready, most of all."""

    share: float = 1 / 2000
    """The share of all recent samples that a place needs besides: translating code that takes less
    time gains nothing, and in a long run everything gets a few samples by chance."""

    window: int = 50_000
    """Number of samples that count as recent, about a second's: when there are more, the count of
    every place is halved."""

    patience: int = 25
    """Factor on these thresholds in pages of which an earlier run has translated parts, and in all
    pages while most samples are in such. Code that is warm by chance in one run and not in another
    is not worth translating in each; the factor still means only milliseconds of interpretation."""

    remembered: int = 50_000
    """While most samples are in such pages, counts of places are not halved as long as there are no
    more of these, of some 200 bytes each: they are for the machine's end."""

    later: float = 0.1
    """The hotness that a place needs there when the machine has ended, with `patience` taken into
    account: a region that is loaded in each run should save more than one or two samples."""

    places: int = 16
    """The most sampled places of a page that one job makes entries of."""

    start: int = 120
    """Hotness of all hot places together that pays for starting the worker: that takes as long as
    interpreting some thousands of samples, on a processor that the machine may have use for."""

    jobs: int = 3
    """Jobs that the worker has at a time: one to do, and more so that it is never idle."""

    most: int = 8000
    """The most regions that a machine holds, of some 50 KB each; beyond that, code is
    interpreted."""

    limit: int = 1000
    """Instructions in the largest region: some ciphers are this long without a jump."""

    spread: int = 120
    """Instructions after which a region follows no more jumps: code further away is either hot by
    itself or not worth compiling."""

    optimised_limit: int = 400
    """`limit` for optimised regions: the optimiser's time grows faster than the gain."""

    max_entries: int = 64
    """The most entries of an optimised region: each weakens what LLVM can assume."""

    slice: int = 16384
    """Instructions between polls: some ten microseconds, which is how long an interrupt from
    outside may be delayed."""

    level: int = 1
    """The level of a first translation: 1 quick to compile, 2 optimised."""

    keep: bool = True
    """Whether regions are put into the store and taken from it."""

    background: float = 30.0
    """Seconds of processor time for translating, after a machine's end, what was hot but not
    translated in time, for the next run."""

    wait: bool = False
    """Whether vCPUs wait, at each poll, until the places that they sampled are translated."""

    unexecuted: bool = False
    """Whether regions also hold code that has never been executed."""

    forget: int = 0
    """A vCPU drops all that it has decoded after each so many polls; 0: never."""

    pieces: int = 0
    """The seed of random limits and entries; 0: none."""

    runs: bool = True
    """Whether what no region has is executed in runs of stencils, not from records, in pages where
    samples were taken."""

    eager: bool = False
    """Whether everything is executed in runs, at once."""

    exact: bool = False
    """Whether regions check the budget in all jumps, not only in backward ones."""

    def cut(
        self, chance: random.Random, entries: tuple[int, ...], executed: bytes, granule: int
    ) -> tuple[tuple[int, ...], Policy]:
        """The entries with some random ones added, and the policy with a random limit: for one job
        of the mode ``pieces``. ``executed`` has a byte for each ``granule`` of the page."""
        places = [n * granule for n, byte in enumerate(executed) if byte]
        more = chance.sample(places, min(len(places), chance.randrange(4)))
        return (*entries, *more), replace(self, limit=chance.randint(1, 8))


USUAL = Policy()
"""The usual policy."""

_WAIT: dict[str, object] = {
    "hot": 1, "warm": 1, "share": 0.0, "start": 0, "slice": 31, "keep": False, "wait": True,
    "unexecuted": True,
}  # fmt: skip
_WORDS: dict[str, dict[str, object]] = {
    "everything": _WAIT,
    "optimise": _WAIT | {"level": 2},
    "forget": _WAIT | {"forget": 8},
    "pieces": _WAIT | {"pieces": 1},
    "exact": {"keep": False, "exact": True},
    "records": {"keep": False, "runs": False},
    "runs": {"keep": False, "most": 0, "eager": True},
}


def stressed(text: str) -> Policy:
    """The policy for words separated by commas, as in BIMETAL_STRESS.

    Raises `BimetalError` for an unknown word.
    """
    changes: dict[str, object] = {}
    for word in filter(None, text.split(",")):
        name, given, seed = word.partition("=")
        takes_seed = name == "pieces" and seed.isdigit()
        if name not in _WORDS or (given and not takes_seed):
            raise BimetalError(
                f"there is no stress mode {word!r}",
                f"choose from {', '.join(_WORDS)}, or pieces=NUMBER",
                ExitCode.USAGE,
            )
        changes |= _WORDS[name] | ({"pieces": int(seed)} if given else {})
    return replace(USUAL, **changes)


def configured(environment: Mapping[str, str] = os.environ) -> Policy:
    """The usual policy, or the one that BIMETAL_STRESS in ``environment`` asks for."""
    return stressed(environment.get(VARIABLE, ""))
