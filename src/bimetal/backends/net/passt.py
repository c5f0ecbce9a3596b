"""passt (https://passt.top): user networking by another program, where it is installed.

It speaks QEMU's form of frames over a stream socket: one that it was handed, or one at which it
listens already.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from contextlib import suppress

from bimetal.backends.net.address import Address
from bimetal.backends.net.options import Options, refusal
from bimetal.backends.net.protocol import NetBackend
from bimetal.backends.net.stream import Stream, connecting
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["open_passt"]

PROGRAM = "passt"

PORTS = {"tcp-ports": "--tcp-ports", "udp-ports": "--udp-ports"}
"""Our words for ports of the host that lead to the guest; their values are passt's."""

LAST_SECONDS = 2.0
"""Seconds that it gets to end when its machine does."""


class _Passt(Stream):
    """A process of passt that ends with its network."""

    def __init__(self, sock: socket.socket, process: subprocess.Popen[bytes]):
        super().__init__(PROGRAM, sock=sock)
        self._process = process

    def close(self) -> None:
        """See `NetBackend.close`."""
        super().close()
        with suppress(subprocess.TimeoutExpired):
            self._process.terminate()
            self._process.wait(LAST_SECONDS)
            return
        self._process.kill()
        self._process.wait()


def open_passt(options: Options) -> NetBackend:
    """A passt of our own, with ports of the host that lead to the guest (``tcp-ports=2222:22``,
    ``udp-ports=``, as its options of these names), or ``path=``, the socket of one that runs.
    Raises `BimetalError`."""
    path = options.text("path")
    ports = [(flag, value) for name, flag in PORTS.items() if (value := options.text(name))]
    options.finish()
    if path is None:
        return _started([word for pair in ports for word in pair])
    if ports:
        raise refusal("the passt that runs has its ports", "give them to it, or leave path= away")
    return connecting(Address(path=path))


def _started(words: list[str]) -> NetBackend:
    program = shutil.which(PROGRAM)
    if program is None:
        raise BimetalError(
            "passt is not installed",
            "install it (apt-get install passt), or take the network user, which needs nothing",
            ExitCode.UNAVAILABLE,
        )
    ours, its = socket.socketpair()
    with its:
        command = [program, "--foreground", "--quiet", "--fd", str(its.fileno()), *words]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
            )
        except OSError as error:
            ours.close()
            raise BimetalError(
                f"{program} cannot be started: {error.strerror or error}",
                "check the program, or take the network user",
                ExitCode.UNAVAILABLE,
            ) from error
    return _Passt(ours, process)
