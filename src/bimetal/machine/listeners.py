"""Callbacks that come and go while, in another thread, they are being called."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, ParamSpec

__all__ = ["Listeners"]

Told = ParamSpec("Told")
"""What listeners are told: the arguments with which they are called."""


class Listeners(Generic[Told]):
    """Call it to call all of them, those that are there at that moment, in order."""

    __slots__ = ("_all", "_changing")

    def __init__(self) -> None:
        self._all: tuple[Callable[Told, object], ...] = ()
        self._changing = threading.Lock()

    def __call__(self, *args: Told.args, **kwargs: Told.kwargs) -> None:
        for listener in self._all:
            listener(*args, **kwargs)

    def add(self, listener: Callable[Told, object]) -> None:
        """Call ``listener`` from now on."""
        with self._changing:
            self._all = (*self._all, listener)

    def remove(self, listener: Callable[Told, object]) -> None:
        """Do not call ``listener`` any more, as often as it was added."""
        with self._changing:
            self._all = tuple(each for each in self._all if each is not listener)

    @contextmanager
    def with_(self, listener: Callable[Told, object]) -> Iterator[None]:
        """Call ``listener`` for a while."""
        self.add(listener)
        try:
            yield
        finally:
            self.remove(listener)
