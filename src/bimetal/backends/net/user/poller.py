"""Watches the sockets of a network: one descriptor for the machine's reactor, however many."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from bimetal.backends.reactor import Reactor, Watch

__all__ = ["ERROR", "HANG_UP", "READ", "WRITE", "Poller"]

READ, WRITE, ERROR = select.EPOLLIN, select.EPOLLOUT, select.EPOLLERR
HANG_UP = select.EPOLLHUP | select.EPOLLRDHUP | select.EPOLLERR
"""What a socket reports that gives no more input than what is there already."""

_ALL = READ | WRITE | select.EPOLLRDHUP | select.EPOLLET

EVENTS = 32
"""Sockets that are served before others who wait for the machine's lock get a turn."""


class Poller:
    """Tells the owner of each socket what has changed there.

    The kernel is told once that everything about a socket is of interest, and reports changes only
    (edges): to wait for something else costs nothing. So owners remember what they were told until
    the socket says that it would block. ``before`` and ``after`` are called around each round of
    telling.
    """

    def __init__(self, before: Callable[[], None], after: Callable[[], None]):
        self._epoll = select.epoll()
        self._owners: dict[int, Callable[[int], None]] = {}
        self._lines: dict[int, socket.socket] = {}
        self._before, self._after = before, after
        self._watch: Watch | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._owners)

    def attach(self, reactor: Reactor) -> None:
        """Let ``reactor`` wait for all sockets."""
        if not self._closed:
            self._watch = reactor.watch(self._epoll.fileno(), on_readable=self.turn)

    def add(self, line: socket.socket, owner: Callable[[int], None]) -> None:
        """Call ``owner`` with what happens to ``line``: `READ`, `WRITE`, `HANG_UP`."""
        self._owners[line.fileno()], self._lines[line.fileno()] = owner, line
        self._epoll.register(line.fileno(), _ALL)

    def remove(self, line: socket.socket) -> None:
        """Stop watching, before ``line`` is closed. Idempotent."""
        if self._lines.pop(line.fileno(), None) is not None and not self._closed:
            del self._owners[line.fileno()]
            self._epoll.unregister(line.fileno())

    def turn(self) -> None:
        """Tell owners what has changed, without waiting."""
        if self._closed:
            return
        self._before()
        owners = self._owners
        for fd, events in self._epoll.poll(0, EVENTS):
            # Another owner may have closed this one, and its number be a new one's already: an
            # owner may be told of what has not happened, and finds out.
            owner = owners.get(fd)
            if owner is not None:
                owner(events)
        self._after()

    def close(self) -> None:
        """Stop watching all. The sockets belong to others. Idempotent."""
        if not self._closed:
            self._closed = True
            if self._watch is not None:
                self._watch.close()
            self._epoll.close()
            self._owners.clear()
            self._lines.clear()

    def forked(self) -> None:
        """This process is a copy: close all sockets here. What the other one waits for is left as
        it is, which is the same set of the kernel's."""
        self._closed = True
        self._epoll.close()
        for line in self._lines.values():
            line.close()
        self._owners.clear()
        self._lines.clear()
