"""Frames over a stream of bytes: each behind its length, 32 bits, big-endian, as QEMU has them."""

from __future__ import annotations

import errno
import socket
from bisect import bisect_right
from collections.abc import Callable, Sequence
from struct import Struct

from bimetal.backends.reactor import Reactor, Watch
from bimetal.base.frames import ETHERNET_HEADER, FRAME_LIMIT, Frame, Port
from bimetal.base.log import EventLog

__all__ = ["FramedStream"]

BUFFER = 256 << 10
"""Bytes read at once at most: more than two of the longest frames."""

PIECES_LIMIT = 1000
"""Pieces written at once; Linux takes 1024 (IOV_MAX)."""

_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ECONNABORTED, errno.ETIMEDOUT})

_LENGTH = Struct(">I")


class FramedStream:
    """One connection, ``sock``, which does not block and is not closed here. ``port`` gets what
    comes. ``on_end`` is called once, when the far end has gone or breaks the rules.

    Of a frame that was begun the rest is kept, and of what was read a buffer that is not full.
    """

    def __init__(self, sock: socket.socket, port: Port, log: EventLog, on_end: Callable[[], None]):
        self._socket, self._port, self._log, self._on_end = sock, port, log, on_end
        self._buffer = memoryview(bytearray(BUFFER))
        self._start = self._end = 0
        self._rest = b""
        self._refused = self._ended = False
        self._watch: Watch | None = None

    def connect(self, port: Port) -> None:
        """From now on ``port`` gets what comes."""
        self._port = port

    def attach(self, reactor: Reactor) -> None:
        """Let ``reactor`` run this connection."""
        self._watch = reactor.watch(self._socket.fileno(), self._readable, self._writable)

    def detach(self) -> None:
        """Do not watch the socket any more. Idempotent."""
        self._ended = True
        if self._watch is not None:
            self._watch.close()

    def send(self, frames: Sequence[Frame]) -> int:
        """See `NetBackend.send`."""
        if not self._flush():
            self._refused = True
            return 0
        done = 0
        while done < len(frames) and not self._ended:
            taken, complete = self._write(frames[done:] if done else frames)
            done += taken
            if not complete:
                self._wait_for_room()
                self._refused = done < len(frames)
                return done
        return len(frames)

    def resume(self) -> None:
        """See `NetBackend.resume`."""
        self._deliver()

    def _write(self, frames: Sequence[Frame]) -> tuple[int, bool]:
        """Write as many frames as go at once; how many are done with, one that was begun too, and
        whether the socket took all that it was given."""
        parts: list[bytes | bytearray | memoryview] = []
        ends: list[int] = []
        total = 0
        for frame in frames:
            if parts and len(parts) + len(frame.pieces) >= PIECES_LIMIT:
                break
            pieces: Sequence[bytes | bytearray | memoryview] = frame.pieces
            if len(pieces) >= PIECES_LIMIT:
                pieces = [b"".join(pieces)]
            length = sum(map(len, pieces))
            parts.append(_LENGTH.pack(length))
            parts += pieces
            total += _LENGTH.size + length
            ends.append(total)
        sent = self._try(lambda: self._socket.sendmsg(parts))
        if sent == total:
            return len(ends), True
        done = bisect_right(ends, sent)
        if sent > (ends[done - 1] if done else 0):
            self._rest = b"".join(parts)[sent : ends[done]]
            done += 1
        return done, False

    def _flush(self) -> bool:
        """Send the rest of a frame; whether nothing is left of it."""
        if self._rest and not self._ended:
            self._rest = self._rest[self._try(lambda: self._socket.send(self._rest)) :]
            if self._rest:
                self._wait_for_room()
        return not self._rest or self._ended

    def _try(self, send: Callable[[], int]) -> int:
        """Send once; how many bytes went."""
        try:
            return send()
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            if error.errno not in _GONE:
                self._log.host_error("frames cannot be sent", str(error))
            self._finish()
            return 0

    def _wait_for_room(self) -> None:
        if self._watch is not None and not self._ended:
            self._watch.writing = True

    def _writable(self) -> None:
        if self._flush() and self._watch is not None:
            self._watch.writing = False
            if self._refused:
                self._refused = False
                self._port.sendable()

    def _readable(self) -> None:
        try:
            count = self._socket.recv_into(self._buffer[self._end :])
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            if error.errno not in _GONE:
                self._log.host_error("frames cannot be received", str(error))
            count = 0
        if count == 0:
            self._finish()
            return
        self._end += count
        self._deliver()

    def _deliver(self) -> None:
        """Hand over the frames that are complete, as far as they are taken, and read on if all
        are."""
        if self._ended:
            return
        frames, starts, at = self._complete()
        taken = self._port.receive(frames) if frames else 0
        self._start = at if taken == len(frames) else starts[taken]
        if self._start:
            rest = self._end - self._start
            self._buffer[:rest] = self._buffer[self._start : self._end]
            self._start, self._end = 0, rest
        if self._watch is not None and not self._ended:
            self._watch.reading = taken == len(frames)

    def _complete(self) -> tuple[list[Frame], list[int], int]:
        """The complete frames in the buffer, where each begins, and where what follows them does. A
        far end that sends what is no frame is left."""
        frames: list[Frame] = []
        starts: list[int] = []
        at = self._start
        while self._end - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, at)
            if length > FRAME_LIMIT:
                self._log.host_error("the far end sends what is no frame", f"{length} bytes")
                self._finish()
                break
            following = at + _LENGTH.size + length
            if following > self._end:
                break
            if length >= ETHERNET_HEADER:
                frames.append(Frame([self._buffer[at + _LENGTH.size : following]]))
                starts.append(at)
            at = following
        return frames, starts, at

    def _finish(self) -> None:
        if not self._ended:
            self.detach()
            self._on_end()
