"""The reactor: waits for the host's descriptors on behalf of the back ends.

It has no thread of its own. The machine calls `Reactor.run` in a thread that it owns and hands
in its own lock: waiting happens outside that lock, every callback runs inside it, and so does
every call that a device makes to its back end. Back ends therefore need no lock at all.

`poll` and not `epoll` lies underneath: standard input may be a regular file or ``/dev/null``,
which `epoll` refuses, and a machine has a handful of descriptors.
"""

from __future__ import annotations

import contextlib
import os
import selectors
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager

from bimetal.base.clock import RealClock
from bimetal.base.wakeup import Wakeup

__all__ = ["Reactor", "Watch"]


class Watch:
    """One descriptor under watch. `reading` and `writing` say what it waits for just now."""

    __slots__ = ("_mask", "_reactor", "closed", "fd", "on_readable", "on_writable")

    def __init__(
        self,
        reactor: Reactor,
        fd: int,
        on_readable: Callable[[], None] | None,
        on_writable: Callable[[], None] | None,
    ):
        self._reactor, self.fd = reactor, fd
        self.on_readable, self.on_writable = on_readable, on_writable
        self._mask = 0
        self.closed = False

    @property
    def mask(self) -> int:
        """What to wait for, as `selectors` says it; 0 for nothing."""
        return self._mask

    @property
    def reading(self) -> bool:
        return bool(self._mask & selectors.EVENT_READ)

    @reading.setter
    def reading(self, wanted: bool) -> None:
        self._want(selectors.EVENT_READ, wanted)

    @property
    def writing(self) -> bool:
        return bool(self._mask & selectors.EVENT_WRITE)

    @writing.setter
    def writing(self, wanted: bool) -> None:
        self._want(selectors.EVENT_WRITE, wanted)

    def _want(self, event: int, wanted: bool) -> None:
        mask = self._mask | event if wanted else self._mask & ~event
        if mask != self._mask and not self.closed:
            self._mask = mask
            self._reactor.changed(self)

    def close(self) -> None:
        """Stop watching, before the descriptor is closed. Idempotent."""
        if not self.closed:
            self.closed, self._mask = True, 0
            self._reactor.changed(self)


class Reactor:
    """Waits for descriptors and calls back, under the lock of the machine.

    ``lock`` is any context manager; without one, `run` suits a program with a single thread.
    `watch`, the attributes of a `Watch` and its `close`, and timers of `clock`, the host's time,
    may be used from any thread that holds the lock; `call` and `stop` from any thread at all, and
    from signal handlers.
    """

    def __init__(self, lock: AbstractContextManager[object] | None = None):
        self._lock: AbstractContextManager[object] = lock or contextlib.nullcontext()
        self._selector = selectors.PollSelector()
        self._watches: dict[int, list[Watch]] = {}
        """By descriptor: one may be read by one part of us and written by another."""
        self._dirty: deque[int] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._closed = False
        self.still = False
        """Whether nothing is called back, until this is False again and `wake` is called. To be set
        with the lock held."""
        self.clock = RealClock()
        self.clock.on_earlier = self.wake
        self._wakeup = Wakeup()
        self._selector.register(self._wakeup.fd, selectors.EVENT_READ)

    def forked(self) -> None:
        """This process is a copy: wait for nothing that belongs to the other one. What was asked of
        `call` is done here too."""
        os.close(self._wakeup.fd)  # whatever a thread of before was doing with it
        self._selector = selectors.PollSelector()
        self._watches.clear()
        self._dirty.clear()
        self.clock = RealClock()
        self.clock.on_earlier = self.wake
        self._wakeup = Wakeup()
        self._selector.register(self._wakeup.fd, selectors.EVENT_READ)
        self.wake()

    def watch(
        self,
        fd: int,
        on_readable: Callable[[], None] | None = None,
        on_writable: Callable[[], None] | None = None,
    ) -> Watch:
        """Watch a descriptor: for input at once if ``on_readable`` is given, for room to write
        only when the watch's ``writing`` is set. A callback must neither block nor fail, and may
        be called in vain."""
        watch = Watch(self, fd, on_readable, on_writable)
        self._watches.setdefault(fd, []).append(watch)
        watch.reading = on_readable is not None
        return watch

    def changed(self, watch: Watch) -> None:
        """A watch waits for something else than before; take note before waiting again.

        A closed watch leaves at once: its number may be another descriptor's soon.
        """
        if watch.closed:
            self._watches[watch.fd].remove(watch)
            self._settle(watch.fd)
        else:
            self._dirty.append(watch.fd)
        self.wake()

    def call(self, function: Callable[[], None]) -> None:
        """Have ``function`` called by `run`, under the lock, soon."""
        self._calls.append(function)
        self.wake()

    def wake(self) -> None:
        """Make `run` look again at what it waits for."""
        self._wakeup.ring()

    def stop(self) -> None:
        """Make `run` return soon."""
        self._stopping = True
        self.wake()

    def run(self) -> None:
        """Wait and call back until `stop`."""
        while not self._stopping:
            self.turn(None)
        self._stopping = False

    def turn(self, timeout: float | None = 0) -> None:
        """Wait once, at most ``timeout`` seconds (None: for ever), and do what there is to do.

        The lock is given up between any two callbacks. What is asked of `call` meanwhile waits for
        the next turn, behind the descriptors: work that goes on and on delays nobody.
        """
        if self.still:
            with selectors.PollSelector() as bell:
                bell.register(self._wakeup.fd, selectors.EVENT_READ)
                bell.select(timeout)
            self._wakeup.hear()
            return
        with self._lock:
            while self._dirty:
                self._settle(self._dirty.popleft())
            deadline = self.clock.next_deadline()
            if self._calls:  # whose bell may have been heard while all was still
                timeout = 0
        ready = self._selector.select(self._until(deadline, timeout))
        if deadline is not None and deadline <= self.clock.now_ns():
            with self._lock:
                if not self.still:
                    self.clock.run_due()
        for key, events in ready:
            if key.fd == self._wakeup.fd:
                self._wakeup.hear()
                continue
            with self._lock:
                for watch in () if self.still else tuple(self._watches.get(key.fd, ())):
                    self._dispatch(watch, events)
        for _ in range(len(self._calls)):
            with self._lock:
                if not self.still:
                    self._calls.popleft()()

    def close(self) -> None:
        """Give the reactor's own descriptor back; the watched ones belong to others. Idempotent."""
        if not self._closed:
            self._closed = True
            self._selector.close()
            self._wakeup.close()

    def _until(self, deadline: int | None, timeout: float | None) -> float | None:
        if deadline is None:
            return timeout
        left = self.clock.host_seconds(deadline)
        return timeout if left is None else left if timeout is None else min(timeout, left)

    @staticmethod
    def _dispatch(watch: Watch, events: int) -> None:
        # A callback before this one may have closed the watch or withdrawn its wish.
        if events & watch.mask & selectors.EVENT_READ and watch.on_readable:
            watch.on_readable()
        if events & watch.mask & selectors.EVENT_WRITE and watch.on_writable:
            watch.on_writable()

    def _settle(self, fd: int) -> None:
        """Have the selector wait for what the watches of a descriptor wait for."""
        if self._closed:
            return
        mask = 0
        for watch in self._watches.get(fd, ()):
            mask |= watch.mask
        known = self._selector.get_map().get(fd)
        if known is None and mask:
            self._selector.register(fd, mask)
        elif known is not None and mask:
            self._selector.modify(fd, mask)
        elif known is not None:
            self._selector.unregister(fd)
        if fd in self._watches and not self._watches[fd]:
            del self._watches[fd]
