"""The client's part of the transmission (proto.md, "Transmission phase"): several requests at a
time, whose replies come in any order and any number of pieces."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Sequence
from struct import Struct

import msgspec

from bimetal.backends.block.nbd.negotiation import Export, NotAServer, receive
from bimetal.backends.block.nbd.protocol import (
    CHUNK,
    CHUNK_MAGIC,
    COMMON,
    NAME_LIMIT,
    REQUEST,
    REQUEST_MAGIC,
    SIMPLE_MAGIC,
    SIMPLE_REPLY,
    Chunk,
    Command,
    Error,
)
from bimetal.base.buffers import split, total

__all__ = ["IN_FLIGHT", "Request", "Requests"]

IN_FLIGHT = 16
"""Requests that are under way together."""

STATUS_LIMIT = 1 << 20
"""Bytes that tell which parts are allocated, in one reply."""

CHUNKS = 1 << 17
"""Chunks of the reply to one request: more than one for each sector of the largest."""

_OFFSET = Struct(">Q")
_HOLE = Struct(">QI")
_ERROR = Struct(">IH")
_STATUS = Struct(">II")

_NUMBERS = {
    Error.NOT_PERMITTED: errno.EPERM,
    Error.NO_MEMORY: errno.ENOMEM,
    Error.INVALID: errno.EINVAL,
    Error.NO_SPACE: errno.ENOSPC,
    Error.OVERFLOW: errno.EOVERFLOW,
    Error.NOT_SUPPORTED: errno.EOPNOTSUPP,
    Error.SHUTDOWN: errno.ESHUTDOWN,
}
"""Errors by the numbers of the host; all others are I/O errors."""


class Request(msgspec.Struct):
    """A request, and what has come of it so far. The data of a read goes ``into`` buffers; of a
    write it comes from ``data``."""

    command: Command
    offset: int = 0
    length: int = 0
    flags: int = 0
    data: Sequence[memoryview] = ()
    into: Sequence[memoryview] = ()
    error: OSError | None = None
    filled: int = 0
    chunks: int = 0
    status: list[tuple[int, int]] = msgspec.field(default_factory=list)


class Requests:
    """Requests over ``connection``, which serves ``export``.

    Every method raises OSError if the connection fails; it is of no more use then.
    """

    def __init__(self, connection: socket.socket, export: Export):
        self._connection, self._export = connection, export
        self._waiting: dict[int, Request] = {}
        self._cookie = 0

    def do(self, requests: Sequence[Request]) -> None:
        """Have all ``requests`` done, whose errors are noted in them."""
        for request in requests:
            while len(self._waiting) >= IN_FLIGHT:
                self._take_reply()
            self._send(request)
        while self._waiting:
            self._take_reply()

    def hang_up(self) -> None:
        """Tell the server that this was all. Raises OSError."""
        self._connection.sendall(REQUEST.pack(REQUEST_MAGIC, 0, Command.DISCONNECT, 0, 0, 0))

    def _send(self, request: Request) -> None:
        self._cookie += 1
        head = REQUEST.pack(
            REQUEST_MAGIC, request.flags, request.command, self._cookie, request.offset,
            request.length,
        )  # fmt: skip
        self._waiting[self._cookie] = request
        buffers: list[memoryview] = [memoryview(head), *request.data]
        while buffers:
            self._drain_while_full()
            sent = self._connection.sendmsg(buffers[:1024], (), socket.MSG_DONTWAIT)
            buffers = split(buffers, sent)[1]

    def _drain_while_full(self) -> None:
        """Take replies while the server takes no requests: it may not take any before its replies
        are taken."""
        while True:
            timeout = self._connection.gettimeout()
            poller = select.poll()
            poller.register(self._connection, select.POLLIN | select.POLLOUT)
            ready = poller.poll(None if timeout is None else timeout * 1000)
            if not ready:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            if ready[0][1] & select.POLLOUT:
                return
            self._take_reply()

    def _take_reply(self) -> None:
        head = receive(self._connection, COMMON.size)
        (magic,) = COMMON.unpack(head)
        if magic == SIMPLE_MAGIC:
            self._take_simple(head + receive(self._connection, SIMPLE_REPLY.size - len(head)))
        elif magic == CHUNK_MAGIC and self._export.structured:
            self._take_chunk(head + receive(self._connection, CHUNK.size - len(head)))
        else:
            raise NotAServer("it does not keep to the protocol")

    def _take_simple(self, head: bytes) -> None:
        _, error, cookie = SIMPLE_REPLY.unpack(head)
        request = self._waiting.pop(cookie, None)
        if request is None or request.chunks:
            raise NotAServer("it answers what was not asked")
        if error:
            request.error = _failure(error)
        elif request.command == Command.READ:
            if self._export.structured:
                raise NotAServer("it does not keep to the protocol")
            self._fill(request.into)

    def _take_chunk(self, head: bytes) -> None:
        _, flags, kind, cookie, length = CHUNK.unpack(head)
        request = self._waiting.get(cookie)
        if request is None or request.chunks >= CHUNKS:
            raise NotAServer("it answers what was not asked")
        request.chunks += 1
        if kind == Chunk.DATA and request.command == Command.READ:
            self._take_data(request, length)
        elif kind == Chunk.HOLE and request.command == Command.READ and length == _HOLE.size:
            offset, size = _HOLE.unpack(receive(self._connection, length))
            for buffer in self._part(request, offset, size):
                buffer[:] = bytes(len(buffer))
        elif kind == Chunk.BLOCK_STATUS and request.command == Command.BLOCK_STATUS:
            self._take_status(request, length)
        elif kind & 1 << 15:
            self._take_error(request, length)
        elif kind != Chunk.NONE or length:
            raise NotAServer("it does not keep to the protocol")
        if flags & Chunk.DONE:
            del self._waiting[cookie]
            whole = request.filled == total(request.into)
            if request.command == Command.READ and request.error is None and not whole:
                raise NotAServer("it leaves out a part of what was to be read")

    def _take_data(self, request: Request, length: int) -> None:
        if length <= _OFFSET.size:
            raise NotAServer("it does not keep to the protocol")
        (offset,) = _OFFSET.unpack(receive(self._connection, _OFFSET.size))
        self._fill(self._part(request, offset, length - _OFFSET.size))

    def _part(self, request: Request, offset: int, length: int) -> list[memoryview]:
        """Where a piece of a reply to a read goes."""
        start = offset - request.offset
        if start < 0 or start + length > request.length:
            raise NotAServer("it answers more than was asked")
        request.filled += length
        return split(split(request.into, start)[1], length)[0]

    def _take_status(self, request: Request, length: int) -> None:
        if not COMMON.size < length <= STATUS_LIMIT or (length - COMMON.size) % _STATUS.size:
            raise NotAServer("it does not keep to the protocol")
        data = receive(self._connection, length)
        if COMMON.unpack_from(data)[0] == self._export.context:
            request.status = list(_STATUS.iter_unpack(data[COMMON.size :]))

    def _take_error(self, request: Request, length: int) -> None:
        if not _ERROR.size <= length <= NAME_LIMIT + 64:
            raise NotAServer("it does not keep to the protocol")
        data = receive(self._connection, length)
        number, size = _ERROR.unpack_from(data)
        text = data[_ERROR.size : _ERROR.size + size].decode(errors="replace")
        request.error = _failure(number, text)

    def _fill(self, buffers: Sequence[memoryview]) -> None:
        for buffer in buffers:
            while buffer:
                count = self._connection.recv_into(buffer)
                if not count:
                    raise ConnectionResetError("the server hung up")
                buffer = buffer[count:]


def _failure(number: int, text: str = "") -> OSError:
    """The error ``number`` of the protocol, and what the server says of it."""
    code = next((host for error, host in _NUMBERS.items() if error == number), errno.EIO)
    said = f": {text}" if text.isprintable() and text else ""
    return OSError(code, f"{os.strerror(code)}, says the NBD server{said}")
