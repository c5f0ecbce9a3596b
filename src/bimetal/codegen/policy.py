"""When code is translated, and in what pieces: one policy, and the modes that stress the engine.

``BIMETAL_STRESS=everything,forget`` chooses another policy than the usual one for every machine of
the process, by words that add up:

=========== ==========================================================================
everything  vCPUs wait while each place that they come to is translated, so nearly all
            code runs in regions
optimise    the same, and at once by the optimiser
forget      the same, and every few polls a vCPU drops all that it has decoded and
            installed, and begins anew
pieces      the same in regions of 1 to 8 instructions, entered at random too;
            ``pieces=SEED`` chooses other ones
exact       regions look at the budget where the interpreter does, so vCPUs poll, and are
            interrupted, after the same instructions in both
=========== ==========================================================================

What is translated under such a policy is not kept in the store.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..base.errors import BimetalError, ExitCode

__all__ = ["USUAL", "VARIABLE", "Policy", "configured", "stressed"]

VARIABLE = "BIMETAL_STRESS"


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers by which tiering and the translator decide."""

    interval: float = 0.003
    idle_interval: float = 0.03
    new_interval: float = 0.0005
    """Seconds between looks at the vCPUs, while they run, while they sleep, and while they come to
    new pages: what is known of these is interpreted until it is offered."""

    hot: int = 4
    """Samples, each of some sixteen thousand instructions, that make a place worth translating:
    the interpreter takes as long for them as the worker for a few instructions of the region."""

    warm: int = 2
    """The same for a worker that has nothing to do."""

    very_hot: int = 400
    """Samples in a region that make it worth the optimiser's time."""

    near: int = 8
    """How many times fewer samples make another region of the page part of it."""

    share: float = 1 / 2000
    """The same as a share of all recent samples: of code that takes less of the time, nothing is
    gained, and in a long run all that is ever executed comes to a few samples by chance."""

    window: int = 50_000
    """Recent samples, of a second or so: when there are more, each place loses half of its own."""

    patience: int = 25
    """How many times these numbers it takes in a page that an earlier run has translated parts of,
    and in all pages while most samples are in such: what is warm by chance in one run and not in
    another is not worth translating in each. It is some milliseconds of interpretation still."""

    places: int = 16
    """Sampled places of a page that one job is asked to make entries of."""

    jobs: int = 3
    """Jobs that the worker has at a time: one to do, and more so that it need not wait."""

    most: int = 8000
    """Regions that a machine holds, of some 50 KB each; what comes after them is interpreted."""

    limit: int = 1000
    """Instructions of the largest region: some ciphers are as long without a jump."""

    spread: int = 120
    """Instructions after which a region follows no more jumps: what is far is hot by itself, or
    not worth compiling."""

    optimised_limit: int = 400
    """The same for the optimiser, whose time grows faster than the gain."""

    max_entries: int = 64
    """Places where an optimised region can be entered: each costs what LLVM can assume."""

    slice: int = 16384
    """Instructions between polls: some ten microseconds, the delay of an interrupt from outside."""

    level: int = 1
    """The level of what is translated first: 1 quick to compile, 2 optimised."""

    keep: bool = True
    """Whether regions go to the store and are taken from it."""

    background: float = 30.0
    """Seconds of processor time after a machine's end in which what was hot, and not translated in
    time, is translated for the next run."""

    wait: bool = False
    """Whether vCPUs wait, at each poll, until the places that they sampled are translated."""

    unexecuted: bool = False
    """Whether regions hold code too that has never been executed."""

    forget: int = 0
    """Polls after which a vCPU drops what it has decoded, again and again; 0: never."""

    pieces: int = 0
    """The seed of random limits and entries; 0: none."""

    exact: bool = False
    """Whether regions look at the budget in all jumps, not only in those that go back."""

    def cut(
        self, chance: random.Random, entries: tuple[int, ...], executed: bytes, granule: int
    ) -> tuple[tuple[int, ...], Policy]:
        """The entries, some random ones among them, and the policy for one random piece."""
        places = [n * granule for n, byte in enumerate(executed) if byte]
        more = chance.sample(places, min(len(places), chance.randrange(4)))
        return (*entries, *more), replace(self, limit=chance.randint(1, 8))


USUAL = Policy()
"""The usual policy."""

_WAIT: dict[str, object] = {
    "hot": 1, "warm": 1, "share": 0.0, "slice": 31, "keep": False, "wait": True, "unexecuted": True,
}  # fmt: skip
_WORDS: dict[str, dict[str, object]] = {
    "everything": _WAIT,
    "optimise": _WAIT | {"level": 2},
    "forget": _WAIT | {"forget": 8},
    "pieces": _WAIT | {"pieces": 1},
    "exact": {"keep": False, "exact": True},
}


def stressed(text: str) -> Policy:
    """The policy that the words of ``text``, separated by commas, describe.

    Raises `BimetalError` for a word that means nothing.
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
    return replace(USUAL, **changes)  # type: ignore[arg-type]


def configured(environment: Mapping[str, str] = os.environ) -> Policy:
    """The usual policy, or the one that the environment asks for."""
    return stressed(environment.get(VARIABLE, ""))
