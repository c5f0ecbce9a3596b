"""Turns of devices: soon, or when the vCPUs rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from bimetal.backends.reactor import Reactor

__all__ = ["LULL_NS", "Lulls"]

LULL_NS = 1_000_000
"""For how long, in nanoseconds, vCPUs that do not rest are waited for: a guest that writes to a
stream fills a few of the largest frames meanwhile, and the host's waits are no finer."""


class Lulls:
    """The machine's `Turns`: they are taken by a ``reactor``.

    Until `begin` was called for the first time nobody can say when the vCPUs rest, as under KVM,
    and nobody waits for it.
    """

    def __init__(self, reactor: Reactor):
        self._reactor = reactor
        self._known = False
        self._waiting = deque[Callable[[], None]]()
        self._timer = reactor.clock.timer(self._go_on)

    def __call__(self, turn: Callable[[], None], /) -> None:
        """See `Turns`."""
        self._reactor.call(turn)

    def in_a_lull(self, turn: Callable[[], None], /) -> None:
        """See `Turns`."""
        if not self._known:
            self._reactor.call(turn)
            return
        self._waiting.append(turn)
        if self._timer.deadline is None:
            self._timer.arm(self._reactor.clock.now_ns() + LULL_NS)

    def begin(self) -> None:
        """The vCPUs have nothing to do: what waits for that has its turn now, as the guest may be
        waiting for what comes of it. The lock is held."""
        self._known = True
        if self._waiting:
            self._timer.cancel()
            for _ in range(len(self._waiting)):
                self._waiting.popleft()()

    def forked(self) -> None:
        """This process is a copy, with a reactor that has begun anew."""
        self._timer = self._reactor.clock.timer(self._go_on)
        self._go_on()

    def _go_on(self) -> None:
        while self._waiting:
            self._reactor.call(self._waiting.popleft())
