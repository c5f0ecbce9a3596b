"""Callbacks that come and go while, in another thread, they are being called."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Listeners"]

Listener = Callable[[], object]


class Listeners:
    """Call it to call all of them, those that are there at that moment, in order."""

    __slots__ = ("_all", "_changing")

    def __init__(self) -> None:
        self._all: tuple[Listener, ...] = ()
        self._changing = threading.Lock()

    def __call__(self) -> None:
        for listener in self._all:
            listener()

    def add(self, listener: Listener) -> None:
        """Call ``listener`` from now on."""
        with self._changing:
            self._all = (*self._all, listener)

    def remove(self, listener: Listener) -> None:
        """Do not call ``listener`` any more, as often as it was added."""
        with self._changing:
            self._all = tuple(each for each in self._all if each is not listener)

    @contextmanager
    def with_(self, listener: Listener) -> Iterator[None]:
        """Call ``listener`` for a while."""
        self.add(listener)
        try:
            yield
        finally:
            self.remove(listener)
