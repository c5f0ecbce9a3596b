"""A network whose frames are written to a file, too, as they go over the cable."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence

from bimetal.backends.net.pcapng import INBOUND, MAGIC, OUTBOUND, file_header, packet
from bimetal.backends.net.protocol import NetBackend
from bimetal.backends.reactor import Reactor
from bimetal.base.clock import RealClock
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.frames import Frame, Port
from bimetal.base.log import EventLog

__all__ = ["Capture"]


class Capture:
    """The network ``inner``, of which every frame that was taken at either end is written to the
    pcapng file at ``path``, made anew. ``name`` is that of the interface.

    Frames are as guest and network exchange them: those left to be cut are long, and those left to
    get a checksum have none, as in captures on Linux. The file is complete up to the last frame at
    any time. When it cannot be written any more, the network goes on without it. Raises
    `BimetalError` if it cannot be made.
    """

    def __init__(self, inner: NetBackend, path: str, name: str = "nic0"):
        self.inner, self._path = inner, path
        self.offloads, self.mtu, self.forwards = inner.offloads, inner.mtu, inner.forwards
        self._log = EventLog(f"net.capture.{name}")
        self._clock = RealClock()
        self._port: Port | None = None
        self._fd: int | None = _created(path)
        self._sending = False
        self._answers: list[bytes] = []
        """What came from inside a `send`, whose frames were there before."""
        self._write([file_header(name, "bimetal")])

    def connect(self, port: Port) -> None:
        """See `NetBackend.connect`."""
        self._port = port
        self.inner.connect(self)

    def attach(self, reactor: Reactor) -> None:
        """See `NetBackend.attach`."""
        self.inner.attach(reactor)

    def close(self) -> None:
        """See `NetBackend.close`."""
        self.inner.close()
        self._end()

    def forked(self) -> None:
        """See `NetBackend.forked`."""
        self.inner.forked()
        self._end()

    # What the NIC does

    def send(self, frames: Sequence[Frame]) -> int:
        """See `NetBackend.send`."""
        blocks = self._blocks(frames, OUTBOUND)
        self._sending = True
        taken = self.inner.send(frames)
        self._sending = False
        answers, self._answers = self._answers, []
        self._write(blocks[:taken] + answers)
        return taken

    def resume(self) -> None:
        """See `NetBackend.resume`."""
        self.inner.resume()

    def negotiated(self, offloads: int) -> None:
        """See `NetBackend.negotiated`."""
        self.inner.negotiated(offloads)

    # What the network does, as to a `Port`

    def receive(self, frames: Sequence[Frame]) -> int:
        """See `Port.receive`."""
        assert self._port is not None
        taken = self._port.receive(frames)
        blocks = self._blocks(frames[:taken], INBOUND)
        if self._sending:
            self._answers += blocks
        else:
            self._write(blocks)
        return taken

    def sendable(self) -> None:
        """See `Port.sendable`."""
        assert self._port is not None
        self._port.sendable()

    def set_link(self, up: bool) -> None:
        """See `Port.set_link`."""
        assert self._port is not None
        self._port.set_link(up)

    def _blocks(self, frames: Sequence[Frame], direction: int) -> list[bytes]:
        if self._fd is None:
            return []
        now = self._clock.wall_ns()
        return [packet(frame.pieces, now, direction) for frame in frames]

    def _write(self, blocks: Sequence[bytes]) -> None:
        data = b"".join(blocks)
        if not data or self._fd is None:
            return
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            written, reason = 0, error.strerror or str(error)
        else:
            reason = "there is no room"
        if written < len(data):
            self._log.host_error(f"the capture {self._path} ends here", reason)
            with contextlib.suppress(OSError):  # no block is cut in two, where that can be helped
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            self._end()

    def _end(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _created(path: str) -> int:
    """A new file, in place of an older capture but of nothing else. Raises `BimetalError`."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        begins = os.read(fd, len(MAGIC)) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
        if begins in (b"", MAGIC):
            if begins:
                os.truncate(fd, 0)
                os.lseek(fd, 0, os.SEEK_SET)
            return fd
        os.close(fd)
        reason = "it is there and is no pcapng file"
    except OSError as error:
        reason = error.strerror or str(error)
    raise BimetalError(
        f"the capture {path} cannot be written: {reason}",
        "name a new file in a folder that you may write to",
        ExitCode.UNAVAILABLE,
    )
