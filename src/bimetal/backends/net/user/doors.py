"""Where connections of the guest lead to: out of the network, to the host, to a service."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Callable
from errno import EACCES, ECONNREFUSED, EHOSTUNREACH, EINPROGRESS, EMFILE

from bimetal.backends.listening import short_path
from bimetal.backends.net.user.places import Places
from bimetal.backends.net.user.settings import GuestForward, Settings

__all__ = ["DNS_PORT", "Doors", "new_socket"]

DNS_PORT = 53

COMMANDS_LIMIT = 64
"""Commands of services that run at a time."""

PATIENCE = 2.0
"""Seconds that a command has to end when the network does."""


class Doors:
    """Opens sockets for connections of the guest. ``resolvers`` tells the host's DNS servers."""

    def __init__(self, settings: Settings, places: Places, resolvers: Callable[[], list[str]]):
        self._settings, self._places, self._resolvers = settings, places, resolvers
        self._children: list[subprocess.Popen[bytes]] = []
        self.mac = places.mac

    def open(self, address: bytes, port: int) -> tuple[socket.socket, bool]:
        """A socket on the way to what the guest calls ``address`` and ``port``, and whether it is
        not connected yet.

        Raises OSError: ECONNREFUSED for what nobody answers at, others for what cannot be reached.
        """
        service = self._places.services.get((address, port))
        if service is not None:
            return self._serve(service)
        if self._settings.restricted:
            raise OSError(ECONNREFUSED, "the network is restricted")
        if self._places.is_dns(address) and port == DNS_PORT:
            host = next(iter(self._resolvers()), None)
        else:
            host = self._places.host_address(address)
        if host is None:
            answers = address in self._places.ours
            raise OSError(ECONNREFUSED if answers else EHOSTUNREACH, "nobody is there")
        return _connecting(host, port)

    def close(self) -> None:
        """End the commands that still run. Idempotent."""
        for child in self._children:
            with contextlib.suppress(OSError):
                os.killpg(child.pid, signal.SIGTERM)
        for child in self._children:
            try:
                child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(OSError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        self._children.clear()

    def _serve(self, service: GuestForward) -> tuple[socket.socket, bool]:
        if service.kind == "cmd":
            return self._run(service.target), False
        if service.kind == "tcp":
            host, _, port = service.target.rpartition(":")
            return _connecting(host.removeprefix("[").removesuffix("]"), int(port))
        line = new_socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with short_path(service.target) as short:
                error = line.connect_ex(short)
        except OSError as failure:
            error = failure.errno or ECONNREFUSED
        if error:
            line.close()
            # No such socket, nobody listens, or too many wait: all the same to a guest.
            raise OSError(EACCES if error == EACCES else ECONNREFUSED, "the service is not there")
        return line, False

    def _run(self, command: str) -> socket.socket:
        """Start a service's command; its input and output are the other end of the socket."""
        self._children = [child for child in self._children if child.poll() is None]
        if len(self._children) >= COMMANDS_LIMIT:
            raise OSError(ECONNREFUSED, "too many commands run")
        ours, theirs = socket.socketpair()
        try:
            self._children.append(
                subprocess.Popen(
                    command,
                    shell=True,
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    start_new_session=True,
                )
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        return ours


def new_socket(family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket that does not block. Raises OSError.

    Shells let a process have some thousand descriptors until it asks for more, up to a limit that
    is far higher: this asks when it has to.
    """
    try:
        line = socket.socket(family, kind, protocol)
    except OSError as error:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if error.errno != EMFILE or soft >= hard:
            raise
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(2 * soft, 4096)), hard))
        line = socket.socket(family, kind, protocol)
    line.setblocking(False)
    return line


def _connecting(host: str, port: int) -> tuple[socket.socket, bool]:
    """A TCP socket on its way to ``host``, a numeric address, and whether it is not there yet."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )[0]
    line = new_socket(family, kind, protocol)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # the guest has waited enough
    error = line.connect_ex(address)
    if error not in (0, EINPROGRESS):
        line.close()
        raise OSError(error, "cannot connect")
    return line, error == EINPROGRESS
