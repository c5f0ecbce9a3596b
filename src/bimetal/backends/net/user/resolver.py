"""The DNS server of the network: passes questions on to the host's own servers."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from bimetal.backends.net.user.doors import DNS_PORT, new_socket
from bimetal.backends.net.user.names import REFUSED, SERVER_FAILURE, Names, failure
from bimetal.backends.net.user.poller import ERROR, READ, Poller
from bimetal.backends.net.user.settings import Settings

__all__ = ["HOSTS", "RESOLVERS", "HostFile", "Resolver", "servers_in"]

RESOLVERS, HOSTS = Path("/etc/resolv.conf"), Path("/etc/hosts")

QUERIES_LIMIT = 256
"""Questions without an answer yet; the oldest makes room."""

PATIENCE = 2_000_000_000
"""Nanoseconds that a server has before another one is asked."""

SERVERS_LIMIT = 3
"""Servers that are asked, as many as the C library asks (resolv.conf(5))."""

LARGEST = 0xFFFF

Reply = Callable[[bytes], None]


class HostFile:
    """The text of a file that somebody may change meanwhile."""

    def __init__(self, path: Path):
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._text = ""

    def read(self) -> str:
        """The text as it is now; nothing if there is no such file."""
        try:
            state = os.stat(self._path)
            stamp = state.st_mtime_ns, state.st_size
            if stamp != self._stamp:
                self._text = self._path.read_text(errors="replace")
                self._stamp = stamp
        except OSError:
            self._stamp, self._text = None, ""
        return self._text


def servers_in(text: str) -> list[str]:
    """The servers that a resolv.conf names; the host itself if it names none, as the C library
    takes it."""
    words = [line.split() for line in text.splitlines()]
    found = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    return found[:SERVERS_LIMIT] or ["127.0.0.1"]


class _Query:
    """A question that was passed on, and what is left to be tried."""

    __slots__ = ("asked_at", "line", "message", "reply", "servers")

    def __init__(self, message: bytes, reply: Reply, servers: list[str]):
        self.message, self.reply, self.servers = message, reply, servers
        self.line: socket.socket | None = None
        self.asked_at = 0


class Resolver:
    """Answers for names that it knows, and asks the host's servers, one after the other, for all
    others. ``now`` is the time in nanoseconds, as its owner last told."""

    def __init__(self, settings: Settings, poller: Poller, resolvers: HostFile, hosts: HostFile):
        self.now = 0
        self._restricted = settings.restricted
        self._poller, self._resolvers = poller, resolvers
        self._names = Names(settings, hosts.read)
        self._queries: dict[_Query, None] = {}

    def __len__(self) -> int:
        return len(self._queries)

    def servers(self) -> list[str]:
        """The addresses of the host's servers."""
        return servers_in(self._resolvers.read())

    def ask(self, message: bytes, reply: Reply) -> None:
        """Answer ``message`` by ``reply``, now or later."""
        known = self._names.answer(message)
        if known is not None:
            reply(known)
        elif len(message) < 12:
            return
        elif self._restricted:
            reply(failure(message, REFUSED))
        else:
            if len(self._queries) >= QUERIES_LIMIT:
                self._forget(next(iter(self._queries)))
            query = _Query(message, reply, self.servers())
            self._queries[query] = None
            self._pass_on(query)

    def sweep(self) -> None:
        """Ask other servers where one has not answered."""
        for query in [each for each in self._queries if self.now - each.asked_at > PATIENCE]:
            self._pass_on(query)

    def close(self) -> None:
        """Forget all questions. Idempotent."""
        for query in list(self._queries):
            self._forget(query)

    def _pass_on(self, query: _Query) -> None:
        """Ask the next server; if there is none left, say that it failed."""
        while query.servers:
            self._close(query)
            try:
                self._send(query, query.servers.pop(0))
            except OSError:
                continue
            return
        self._forget(query)
        query.reply(failure(query.message, SERVER_FAILURE))

    def _send(self, query: _Query, server: str) -> None:
        family, kind, protocol, _, address = socket.getaddrinfo(
            server, DNS_PORT, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )[0]
        line = query.line = new_socket(family, kind, protocol)
        line.connect(address)
        line.send(query.message)
        query.asked_at = self.now
        self._poller.add(line, lambda events: self._event(query, line, events))

    def _event(self, query: _Query, line: socket.socket, events: int) -> None:
        if line is not query.line or not events & (READ | ERROR):
            return
        try:
            answer = line.recv(LARGEST)
        except BlockingIOError:
            return
        except OSError:
            self._pass_on(query)  # nobody listens there
            return
        if answer[:2] == query.message[:2]:
            self._forget(query)
            query.reply(answer)

    def _forget(self, query: _Query) -> None:
        self._queries.pop(query, None)
        self._close(query)

    def _close(self, query: _Query) -> None:
        if query.line is not None:
            self._poller.remove(query.line)
            query.line.close()
            query.line = None
