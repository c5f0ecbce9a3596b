"""The server's part of the transmission (proto.md, "Transmission phase"): one request after the
other. A long one is done piece by piece, so that other clients have their turn."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from struct import Struct

import msgspec

from bimetal.backends.block.nbd.exported import Exported, Talk, Terms, Wire
from bimetal.backends.block.nbd.protocol import (
    BITMAP_CONTEXT,
    CHUNK,
    CHUNK_MAGIC,
    CONTEXT,
    DIRTY,
    PAYLOAD,
    REQUEST,
    REQUEST_MAGIC,
    SIMPLE_MAGIC,
    SIMPLE_REPLY,
    Chunk,
    Command,
    CommandFlag,
    Error,
    Status,
)

__all__ = ["answer"]

TURN = 1 << 20
"""Bytes read or written before the others have their turn."""

FREED = 64 << 20
"""Bytes made zero or discarded before that: quick on most hosts."""

EXTENTS = 2048
"""Parts of the disk that one reply tells of."""

LOOKS = 1 << 14
"""Extents looked at for one reply, many of which may be alike."""

_OFFSET = Struct(">Q")
_HOLE = Struct(">QI")
_ERROR = Struct(">IH")
_STATUS = Struct(">II")
_WORD = Struct(">I")

ALLOWED = {
    Command.READ: CommandFlag.DONT_FRAGMENT | CommandFlag.FUA,
    Command.WRITE: CommandFlag.FUA,
    Command.DISCONNECT: CommandFlag(0),
    Command.FLUSH: CommandFlag.FUA,
    Command.TRIM: CommandFlag.FUA,
    Command.WRITE_ZEROES: CommandFlag.FUA | CommandFlag.NO_HOLE,
    Command.BLOCK_STATUS: CommandFlag.FUA | CommandFlag.ONE_EXTENT,
}
"""Flags that each request may have; FUA is allowed with all, and means nothing with some."""

CHANGES = (Command.WRITE, Command.TRIM, Command.WRITE_ZEROES)

_NUMBERS = {
    errno.EPERM: Error.NOT_PERMITTED,
    errno.EROFS: Error.NOT_PERMITTED,
    errno.ENOMEM: Error.NO_MEMORY,
    errno.EINVAL: Error.INVALID,
    errno.ENOSPC: Error.NO_SPACE,
    errno.EDQUOT: Error.NO_SPACE,
    errno.EFBIG: Error.NO_SPACE,
    errno.EOPNOTSUPP: Error.NOT_SUPPORTED,
}
"""Errors of the host; all others are I/O errors."""


class Wrong(Exception):
    """The request cannot be done, for the reason ``number``."""

    def __init__(self, number: Error, text: str):
        super().__init__(text)
        self.number = number


class Asked(msgspec.Struct):
    """A request."""

    flags: int
    command: int
    cookie: int
    offset: int
    length: int


def answer(export: Exported, terms: Terms, wire: Wire) -> Talk:
    """Do what a client that has come to ``terms`` asks for until it hangs up, or says what makes no
    sense."""
    while True:
        magic, *fields = REQUEST.unpack((yield REQUEST.size))
        asked = Asked(*fields)
        if magic != REQUEST_MAGIC or asked.command == Command.DISCONNECT:
            return
        data = b""
        if asked.command == Command.WRITE:
            if asked.length > PAYLOAD:
                return  # there is no way past so much data
            data = (yield asked.length) if asked.length else b""
        reply = _Reply(terms, wire, asked)
        try:
            _check(export, terms, asked)
            yield from _carry_out(export, terms, asked, data, reply)
        except Wrong as wrong:
            reply.fail(wrong.number, str(wrong))
        except OSError as error:
            reply.fail(_NUMBERS.get(error.errno or 0, Error.IO), error.strerror or str(error))


def _check(export: Exported, terms: Terms, asked: Asked) -> None:
    """Raise `Wrong` for what cannot be done."""
    if asked.command not in ALLOWED:
        raise Wrong(Error.INVALID, "there is no such command")
    if asked.flags & ~ALLOWED[Command(asked.command)]:
        raise Wrong(Error.INVALID, "there is no such flag")
    if asked.command in CHANGES and export.readonly:
        raise Wrong(Error.NOT_PERMITTED, "the export is only read")
    if asked.command == Command.FLUSH:
        return
    if asked.offset + asked.length > export.disk.size:
        beyond = Error.NO_SPACE if asked.command in CHANGES else Error.INVALID
        raise Wrong(beyond, "that is behind the end of the disk")
    if asked.command == Command.READ and asked.length > PAYLOAD:
        raise Wrong(Error.OVERFLOW, "that is too much at once")
    if asked.command == Command.BLOCK_STATUS and (not terms.contexts or not asked.length):
        raise Wrong(Error.INVALID, "nobody asked for a context, or this is of nothing")


def _carry_out(export: Exported, terms: Terms, asked: Asked, data: bytes, reply: _Reply) -> Talk:
    """Do a request that can be done, and reply. Raises OSError."""
    disk, offset, end = export.disk, asked.offset, asked.offset + asked.length
    match asked.command:
        case Command.READ:
            buffer = memoryview(bytearray(asked.length))
            for start, stop in _cut(offset, end, TURN):
                disk.readv(start, [buffer[start - offset : stop - offset]])
                yield 0
            reply.data(buffer)
            return
        case Command.BLOCK_STATUS:
            reply.status([_status(export, each, asked) for each in terms.contexts])
            return
        case Command.WRITE:
            view = memoryview(data)
            for start, stop in _cut(offset, end, TURN):
                disk.writev(start, [view[start - offset : stop - offset]])
                yield 0
        case Command.TRIM:
            for start, stop in _cut(offset, end, FREED):
                disk.discard(start, stop - start)
                yield 0
        case Command.WRITE_ZEROES:
            unmap = not asked.flags & CommandFlag.NO_HOLE
            for start, stop in _cut(offset, end, TURN):
                disk.write_zeroes(start, stop - start, unmap=unmap)
                yield 0
    if asked.command == Command.FLUSH or (
        asked.flags & CommandFlag.FUA and asked.command in CHANGES
    ):
        disk.flush()
    reply.done()


def _cut(start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut a range at multiples of ``size``, where no cluster of an image is cut."""
    while start < end:
        stop = min(end, start - start % size + size)
        yield start, stop
        start = stop


def _told(export: Exported, context: str, asked: Asked) -> Iterator[tuple[int, int]]:
    """How long each part is from the offset on, and what a context tells of it."""
    if context != CONTEXT:
        marks = export.bitmaps[context.removeprefix(BITMAP_CONTEXT)]
        for length, marked in marks.parts(asked.offset, asked.offset + asked.length):
            yield length, DIRTY * marked
        return
    for extent in export.disk.extents(asked.offset, asked.length):
        status = (0 if extent.data else Status.HOLE) | (Status.ZERO if extent.zero else 0)
        yield extent.length, status


def _status(export: Exported, context: str, asked: Asked) -> list[tuple[int, int]]:
    """The same, of parts that differ; not always to the end."""
    parts: list[tuple[int, int]] = []
    for looked, (length, status) in enumerate(_told(export, context, asked)):
        if parts and parts[-1][1] == status:
            parts[-1] = parts[-1][0] + length, status
        elif len(parts) == (1 if asked.flags & CommandFlag.ONE_EXTENT else EXTENTS):
            break
        else:
            parts.append((length, status))
        if looked == LOOKS:
            break
    return parts


class _Reply:
    """The reply to one request, in the form that the client takes."""

    def __init__(self, terms: Terms, wire: Wire, asked: Asked):
        self._structured, self._wire, self._asked = terms.structured, wire, asked

    def done(self) -> None:
        if self._structured:
            self._chunk(Chunk.NONE)
        else:
            self._simple(0)

    def data(self, data: memoryview) -> None:
        if not self._structured:
            self._simple(0)
            self._wire.put(data)
        elif data:
            self._chunk(Chunk.DATA, _OFFSET.pack(self._asked.offset), data)
        else:
            self._chunk(Chunk.NONE)

    def status(self, contexts: list[list[tuple[int, int]]]) -> None:
        for number, parts in enumerate(contexts):
            packed = b"".join(_STATUS.pack(*part) for part in parts)
            last = number == len(contexts) - 1
            self._chunk(Chunk.BLOCK_STATUS, _WORD.pack(number), packed, last=last)

    def fail(self, number: Error, text: str) -> None:
        if not self._structured:
            self._simple(number)
            return
        said = text.encode(errors="replace")[:1000]
        self._chunk(Chunk.ERROR, _ERROR.pack(number, len(said)), said)

    def _simple(self, number: int) -> None:
        self._wire.put(SIMPLE_REPLY.pack(SIMPLE_MAGIC, number, self._asked.cookie))

    def _chunk(self, kind: Chunk, *data: bytes | memoryview, last: bool = True) -> None:
        length, flags = sum(map(len, data)), Chunk.DONE if last else 0
        head = CHUNK.pack(CHUNK_MAGIC, flags, kind, self._asked.cookie, length)
        self._wire.put(head, *data)
