"""Crashes of the host, simulated: what may be left in a file, and what a disk may show then.

A `Recording` holds all that is done to a file. After a crash the file has everything from before
the last flush, and what was written safely; of what else came later, any sector of any write may
have reached the disk or not, in any order. After kill -9 it has everything. A `Guest` uses a disk
and remembers what each sector may hold by the promises of `Block`.
"""

from __future__ import annotations

import fcntl
import os
import random
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bimetal.backends.block.block import Block
from bimetal.backends.block.holes import FS_IOC_UNRESVSP64, FS_IOC_ZERO_RANGE
from bimetal.backends.block.qcow2.image import Qcow2Image
from tests.backends.block.late import transfer

SECTOR = 512
ZERO = bytes(SECTOR)

REQUESTS = [*["write"] * 4, "writes", "row", "zero", "discard", "read", "flush"]
"""What a guest asks for, the more often the more often it is here."""

_SPACE = struct.Struct("@hhqqi")
"""The beginning of struct space_resv: type, whence, start, length."""


@dataclass(frozen=True)
class Write:
    """``data`` was written at ``offset``; or zeroes, by a hole."""

    offset: int
    data: bytes

    def pieces(self) -> Iterator[Write]:
        """What of it reaches the disk together."""
        start, end = self.offset, self.offset + len(self.data)
        while start < end:
            stop = min(end, start - start % SECTOR + SECTOR)
            yield Write(start, self.data[start - self.offset : stop - self.offset])
            start = stop

    def apply(self, file: bytearray) -> None:
        file.extend(bytes(max(0, self.offset - len(file))))
        file[self.offset : self.offset + len(self.data)] = self.data


@dataclass(frozen=True)
class Hole(Write):
    """A write of zeroes that does not make the file longer."""

    def apply(self, file: bytearray) -> None:
        stop = min(len(file), self.offset + len(self.data))
        if self.offset < stop:
            file[self.offset : stop] = bytes(stop - self.offset)


@dataclass(frozen=True)
class SafeWrite(Write):
    """A write that has reached the disk when it returns, whatever became of others (RWF_DSYNC)."""


@dataclass(frozen=True)
class Resize:
    """The file has ``length`` bytes now."""

    length: int

    def pieces(self) -> Iterator[Resize]:
        yield self

    def apply(self, file: bytearray) -> None:
        del file[self.length :]
        file.extend(bytes(self.length - len(file)))


class Recording:
    """What happens to the file at ``path``, flushes as None; whatever else could change it is
    not allowed."""

    def __init__(self, path: Path):
        self.path, self.before = path, path.read_bytes()
        self.events: list[Write | Resize | None] = []
        self._flushed: dict[int, bytes] = {0: self.before}
        self._inode = path.stat().st_ino

    def __len__(self) -> int:
        return len(self.events)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Record, and keep the host's disks out of it: nothing is really flushed."""
        pwritev, ftruncate, ioctl = os.pwritev, os.ftruncate, fcntl.ioctl

        def writing(fd: int, buffers: Sequence[memoryview], offset: int, flags: int = 0) -> int:
            written = pwritev(fd, buffers, offset)
            kind = SafeWrite if flags & os.RWF_DSYNC else Write
            self._note(fd, kind(offset, b"".join(buffers)[:written]))
            return written

        def resizing(fd: int, length: int) -> None:
            ftruncate(fd, length)
            self._note(fd, Resize(length))

        def flushing(fd: int) -> None:
            self._note(fd, None)

        def control(fd: int, request: int, argument: Any) -> Any:
            answer = ioctl(fd, request, argument)
            if request in (FS_IOC_UNRESVSP64, FS_IOC_ZERO_RANGE):
                _, _, start, length, _ = _SPACE.unpack_from(argument)
                kind = Hole if request == FS_IOC_UNRESVSP64 else Write
                self._note(fd, kind(start, bytes(length)))
            return answer

        def forbidden(*_: Any) -> Any:
            raise AssertionError("a way to change a file that is not recorded")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "pwritev", writing)
            patch.setattr(os, "ftruncate", resizing)
            patch.setattr(os, "fdatasync", flushing)
            patch.setattr(os, "fsync", flushing)
            patch.setattr(fcntl, "ioctl", control)
            patch.setattr(os, "truncate", resizing)
            for name in ("pwrite", "writev", "sendfile", "copy_file_range"):
                patch.setattr(os, name, forbidden)
            yield

    def _note(self, fd: int, event: Write | Resize | None) -> None:
        if os.fstat(fd).st_ino == self._inode:
            self.events.append(event)

    def killed(self, position: int) -> bytes:
        """The file if our process ended after so many events."""
        start = max(at for at in self._flushed if at <= position)
        file = bytearray(self._flushed[start])
        for at in range(start, position):
            event = self.events[at]
            if event is None:
                self._flushed[at] = bytes(file)
            else:
                event.apply(file)
        return bytes(file)

    def crashed(self, position: int, rng: random.Random) -> bytes:
        """The file after some crash of the host after so many events."""
        flushes = (at for at in range(position - 1, -1, -1) if self.events[at] is None)
        safe = next(flushes, 0)
        file = bytearray(self.killed(safe))
        events = [event for event in self.events[safe:position] if event is not None]
        loose = [at for at, event in enumerate(events) if not isinstance(event, SafeWrite)]
        chosen = rng.randrange(4) if loose else 0
        one, kept, shuffled = 0, 1.0, rng.random() < 0.5
        if chosen == 3:
            kept = rng.choice((0.1, 0.5, 0.9))
        elif chosen:
            one = rng.choice(loose)
        pieces: list[Write | Resize] = []
        for at, event in enumerate(events):
            if isinstance(event, SafeWrite):
                _reach(file, pieces, rng, shuffled=shuffled)
                event.apply(file)
            elif chosen in (0, 3) or (at == one) == (chosen == 2):
                pieces += (each for each in event.pieces() if rng.random() < kept)
        _reach(file, pieces, rng, shuffled=shuffled)
        return bytes(file)


def _reach(
    file: bytearray, pieces: list[Write | Resize], rng: random.Random, *, shuffled: bool
) -> None:
    """These reach the disk, in their order or ``shuffled``."""
    if shuffled:
        rng.shuffle(pieces)
    for piece in pieces:
        piece.apply(file)
    pieces.clear()


@dataclass(frozen=True)
class Request:
    """What the guest asked for between two lengths of the recording: that sectors from ``first``
    on become ``contents``, or a flush."""

    start: int
    end: int
    first: int
    contents: list[bytes]
    flush: bool = False


class Guest:
    """Uses a disk that begins with ``content``."""

    def __init__(self, content: bytes, recording: Recording, rng: random.Random):
        self._content, self._recording, self._rng = content, recording, rng
        self._now = sectors(content)
        self._stamp = rng.getrandbits(40) << 20
        self.requests: list[Request] = []

    def use(self, disk: Block, steps: int) -> None:
        """Random requests, the last of which need not be a flush."""
        for _ in range(steps):
            match self._rng.choice(REQUESTS):
                case "write":
                    self._write(disk, 1)
                case "writes":
                    self._write(disk, self._rng.randrange(2, 9))
                case "row":
                    self._row(disk)
                case "zero":
                    self._zero(disk)
                case "discard":
                    self._discard(disk)
                case "read":
                    assert sectors(disk.read(0, disk.size)) == self._now
                case "flush":
                    self.flush(disk)

    def flush(self, disk: Block) -> None:
        start = len(self._recording)
        disk.flush()
        self._answered(start, 0, [], flush=True)

    def close(self, disk: Block) -> None:
        """Give the disk back, which flushes it."""
        start = len(self._recording)
        disk.close()
        self._answered(start, 0, [], flush=True)

    def _write(self, disk: Block, requests: int) -> None:
        start, written = len(self._recording), []
        grouping = disk if requests > 1 and isinstance(disk, Qcow2Image) else None
        if grouping:
            grouping.hold()
        for _ in range(requests):
            first, count = self._somewhere()
            data = [self._new() for _ in range(count)]
            cut = self._rng.randrange(count * SECTOR)
            whole = memoryview(b"".join(data))
            buffers = [whole[:cut], whole[cut:]]
            if self._rng.random() < 0.5:
                disk.writev(first * SECTOR, buffers)
            else:
                transfer(disk, first * SECTOR, buffers, self._rng, writes=True)
            written.append((first, data))
        if grouping:
            grouping.settle()
        for first, data in written:
            self._answered(start, first, data)

    def _row(self, disk: Block) -> None:
        """Writes of which each waits for the one before, and goes on where that ended."""
        first, count = self._somewhere()
        step = self._rng.choice((1, 8, 20))
        for number in range(first, first + count, step):
            start = len(self._recording)
            data = [self._new() for _ in range(min(step, first + count - number))]
            disk.write(number * SECTOR, b"".join(data))
            self._answered(start, number, data)

    def _zero(self, disk: Block) -> None:
        start = len(self._recording)
        first, count = self._somewhere()
        disk.write_zeroes(first * SECTOR, count * SECTOR, unmap=self._rng.random() < 0.5)
        self._answered(start, first, [ZERO] * count)

    def _discard(self, disk: Block) -> None:
        start = len(self._recording)
        first, count = self._somewhere()
        disk.discard(first * SECTOR, count * SECTOR)
        self._answered(start, first, sectors(disk.read(first * SECTOR, count * SECTOR)))

    def _somewhere(self) -> tuple[int, int]:
        most = self._rng.choice((1, 8, 40, len(self._now)))
        count = self._rng.randrange(1, min(most, len(self._now)) + 1)
        return self._rng.randrange(len(self._now) - count + 1), count

    def _new(self) -> bytes:
        """A sector as it never was before."""
        self._stamp += 1
        return struct.pack("<Q", self._stamp) * (SECTOR // 8)

    def _answered(
        self, start: int, first: int, contents: list[bytes], *, flush: bool = False
    ) -> None:
        self._now[first : first + len(contents)] = contents
        self.requests.append(Request(start, len(self._recording), first, contents, flush))

    def promised(self, position: int, *, killed: bool = False) -> list[list[bytes]]:
        """What each sector may hold after so many events: what was flushed last, or anything
        newer; if our process was ``killed``, what was written last."""
        may = [[sector] for sector in sectors(self._content)]
        for request in self.requests:
            if request.start >= position and request.end > position:
                break
            done = request.end <= position
            if request.flush and done:
                may = [contents[-1:] for contents in may]
            for number, content in enumerate(request.contents, request.first):
                may[number] = [content] if killed and done else [*may[number], content]
        return may


def sectors(content: bytes) -> list[bytes]:
    """``content`` cut into sectors."""
    return [content[at : at + SECTOR] for at in range(0, len(content), SECTOR)]
