"""The machine's lock: one holder at a time, and nobody who asks for it is passed over for long."""

from __future__ import annotations

import threading
from types import TracebackType

from bimetal.base.clock import Countdown

__all__ = ["FairLock"]

FOR_EVER = -1


class FairLock:
    """A lock that its last holder cannot take again before a thread that is waiting for it.

    A `threading.Lock` goes to the first thread that asks once it is free, and a thread that
    releases it and asks again is quicker than one that has to be woken: a thread that works in
    turns would keep all others out. Here every thread takes a ``door`` first, and holds it while it
    waits for the lock.

    Use it in a ``with`` statement. Where that is too slow, ``with lock.door: lock.take()`` takes
    it, and ``release`` releases it.
    """

    __slots__ = ("_lock", "door", "release", "take")

    def __init__(self) -> None:
        self.renew()

    def acquire(self, blocking: bool = True, timeout: float = FOR_EVER) -> bool:
        """Take the lock; False if it is not free and ``blocking`` is, or not in so many seconds."""
        if not blocking:
            return self._lock.acquire(blocking=False)
        if timeout == FOR_EVER:
            with self.door:
                return self.take()
        countdown = Countdown(timeout)
        if not self.door.acquire(timeout=countdown.left):
            return False
        try:
            return self.take(timeout=countdown.left)
        finally:
            self.door.release()

    def renew(self) -> None:
        """Be free, whoever held the lock or waited for it: these threads are another process's."""
        self.door, self._lock = threading.Lock(), threading.Lock()
        self.take, self.release = self._lock.acquire, self._lock.release

    def locked(self) -> bool:
        """Whether the lock is held."""
        return self._lock.locked()

    def __enter__(self) -> None:
        with self.door:
            self.take()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.release()
