"""Machines on demand: forks of one that has come as far as it is wanted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from bimetal.base.closes import Closes
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.fork import Fork, Forks

__all__ = ["Pool"]


class Origin(Protocol):
    """A machine that can be forked."""

    def pause(self) -> None:
        """See `Machine.pause`."""

    def resume(self) -> None:
        """See `Machine.resume`."""


class Pool(Closes):
    """Hands out forks of ``origin``, a machine that was started, from the state in which it is now:
    it is paused as long as there is the pool. ``fork`` makes them, and ``ready`` of them are kept
    in advance.

        with vm.pool() as pool, pool.machine() as fork:
            fork.console.sendline("make check")

    Methods may be called from any thread. Raises `BimetalError` if the machine cannot be forked.
    """

    def __init__(self, origin: Origin, fork: Callable[[int], Forks], ready: int = 1):
        if ready < 0:
            raise BimetalError(f"{ready} machines in advance", "keep 0 or more", ExitCode.USAGE)
        self._origin, self._fork, self._wanted = origin, fork, ready
        self._changing = threading.Lock()
        self._closed = False
        self._ready = Forks()
        origin.pause()
        try:
            self._refill()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def machine(self) -> Iterator[Fork]:
        """A fork that goes on when the context is entered, and is closed when it is left."""
        with self._changing:
            if self._closed:
                raise BimetalError("the pool is closed", "make a new one", ExitCode.USAGE)
            fork = self._ready.pop() if self._ready else self._fork(1)[0]
        with fork:
            fork.resume()
            yield fork
            with self._changing:
                if not self._closed:
                    self._refill()

    def close(self) -> None:
        """Close what is kept in advance, and let the origin go on. Idempotent."""
        with self._changing:
            if not self._closed:
                self._closed = True
                self._ready.close()
                self._origin.resume()

    def _refill(self) -> None:
        if missing := self._wanted - len(self._ready):
            self._ready += self._fork(missing)
