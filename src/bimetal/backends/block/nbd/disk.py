"""A disk that an NBD server serves.

A connection that is lost is made again when the next request finds that out, and what was not
answered is asked for again. But what the server has answered and not flushed may be lost with it:
then every later flush fails, as after a failing flush of a file, so that the guest does not take
for safe what nobody knows to be.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from bimetal.backends.block.block import SECTOR, Block, Extent
from bimetal.backends.block.nbd.address import Address
from bimetal.backends.block.nbd.negotiation import Export, Refused, negotiate
from bimetal.backends.block.nbd.protocol import (
    Command,
    CommandFlag,
    Status,
    TransmissionFlag,
)
from bimetal.backends.block.nbd.requests import Request, Requests
from bimetal.backends.listening import short_path
from bimetal.base.buffers import pieces, total
from bimetal.base.clock import Countdown
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.log import EventLog
from bimetal.base.transfers import Transfer

__all__ = ["NbdDisk", "open_nbd"]

PATIENCE = 30.0
"""Seconds that a server may take for an answer before the connection counts as lost."""

TO_CONNECT = 5.0
"""Seconds that the host may take to reach the server."""

BETWEEN_TRIES = 2.0
"""Seconds after a try in vain in which requests fail at once: the guest must not stand still."""

PIECE = 1 << 20
"""Bytes of a request; of larger ones several are under way together."""

ZEROES = 1 << 30
"""Bytes that one request makes zero or discards."""

STATUS = 1 << 30
"""Bytes of which one request asks how they are stored."""


def open_nbd(address: Address, *, readonly: bool = False) -> NbdDisk:
    """The disk at ``address``. Raises `BimetalError` if there is none that can be used."""
    try:
        connection, export = _connect(address)
    except OSError as error:
        raise BimetalError(
            f"no disk from {str(address)!r}: {error.strerror or error}",
            "check that the server runs there, such as: bimetal image serve IMAGE, or qemu-nbd",
            ExitCode.UNAVAILABLE,
        ) from error
    try:
        _check(address, export, readonly)
    except BaseException:
        connection.close()
        raise
    return NbdDisk(address, connection, export, readonly=readonly)


class NbdDisk(Block):
    """The disk at ``address``, which ``connection`` leads to and is ``export``."""

    def __init__(
        self, address: Address, connection: socket.socket, export: Export, *, readonly: bool
    ):
        self.name, self.size = str(address), export.size - export.size % SECTOR
        self.readonly = readonly or bool(export.flags & TransmissionFlag.READ_ONLY)
        self._address, self._export = address, export
        self._connection: socket.socket | None = connection
        self._requests = Requests(connection, export)
        self._log = EventLog(f"block.{self.name}")
        self._wait: Countdown | None = None
        self._unflushed = self._closed = False
        self._lost: str = ""

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.readv`."""
        self._do(self._requests_of(Transfer(offset, buffers, writes=False)))

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.writev`."""
        self._do(self._requests_of(Transfer(offset, buffers, writes=True)))
        self._unflushed = True

    def late(self, transfers: Sequence[Transfer]) -> Sequence[Callable[[], None]]:
        """See `Block.late`: all of them are under way together."""
        return (partial(self._do_together, transfers),)

    def _do_together(self, transfers: Sequence[Transfer]) -> None:
        parts = [self._requests_of(each) for each in transfers]
        failure: OSError | None = None
        try:
            self._exchange([request for part in parts for request in part])
        except OSError as error:
            failure = error
        for transfer, part in zip(transfers, parts, strict=True):
            transfer.error = failure or _first_error(part)
            self._unflushed |= transfer.writes

    def _requests_of(self, transfer: Transfer) -> list[Request]:
        requests, offset = list[Request](), transfer.offset
        for piece in pieces(transfer.buffers, self._piece):
            length = total(piece)
            if transfer.writes:
                requests.append(Request(Command.WRITE, offset, length, data=piece))
            else:
                requests.append(Request(Command.READ, offset, length, into=piece))
            offset += length
        return requests

    def flushing(self) -> Callable[[], None] | None:
        """See `Block.flushing`."""
        return self.flush if self._unflushed or self._lost else None

    def flush(self) -> None:
        """See `Block.flush`. Fails for ever once a connection was lost before a flush."""
        if self._lost:
            raise OSError(errno.EIO, self._lost)
        if self._unflushed and self._export.flags & TransmissionFlag.FLUSH:
            self._do([Request(Command.FLUSH)])
            if self._lost:
                raise OSError(errno.EIO, self._lost)
        self._unflushed = False

    def discard(self, offset: int, length: int) -> None:
        """See `Block.discard`. Does nothing where the server cannot."""
        if length and self._export.flags & TransmissionFlag.TRIM:
            self._do(self._ranges(Command.TRIM, offset, length))
            self._unflushed = True

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """See `Block.write_zeroes`."""
        if not length:
            return
        if self._export.flags & TransmissionFlag.WRITE_ZEROES:
            flags = 0 if unmap else CommandFlag.NO_HOLE
            self._do(self._ranges(Command.WRITE_ZEROES, offset, length, flags))
            self._unflushed = True
            return
        zeroes = memoryview(bytes(min(length, PIECE)))
        for start in range(offset, offset + length, PIECE):
            self.writev(start, [zeroes[: offset + length - start]])

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Block.extents`: as the server tells, if it does."""
        end = offset + length
        while offset < end:
            request = Request(Command.BLOCK_STATUS, offset, min(end - offset, STATUS))
            if self._export.context is not None:
                self._do([request])
            if not request.status:
                yield Extent(offset, end - offset, offset=offset, path=self.name)
                return
            for size, status in request.status:
                size = min(size, end - offset)
                if not size:
                    raise OSError(errno.EIO, "the NBD server tells of parts of no bytes")
                zero, hole = bool(status & Status.ZERO), bool(status & Status.HOLE)
                place = None if hole else offset
                yield Extent(offset, size, data=not hole, zero=zero, offset=place, path=self.name)
                offset += size
                if offset >= end:
                    break

    def close(self) -> None:
        """See `Block.close`. A failing flush is reported as an event of the host."""
        if self._closed:
            return
        try:
            if self._unflushed or self._lost:
                self.flush()
        except OSError as error:
            self._log.host_error("the last writes may be lost", str(error))
        self._closed = True
        if self._connection is not None:
            self._say_goodbye(self._connection)
            self._connection.close()
            self._connection = None

    def _say_goodbye(self, connection: socket.socket) -> None:
        try:
            self._requests.hang_up()
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it is gone anyway

    @property
    def _piece(self) -> int:
        return min(PIECE, self._export.maximum)

    def _ranges(self, command: Command, offset: int, length: int, flags: int = 0) -> list[Request]:
        end = offset + length
        return [
            Request(command, start, min(ZEROES, end - start), flags)
            for start in range(offset, end, ZEROES)
        ]

    def _do(self, requests: list[Request]) -> None:
        """Have ``requests`` done. Raises OSError."""
        self._exchange(requests)
        error = _first_error(requests)
        if error is not None:
            raise error

    def _exchange(self, requests: list[Request]) -> None:
        """Have ``requests`` answered, by another connection if this one is lost. Raises OSError if
        that cannot be; errors of the server's are noted in them."""
        if self._connection is None:
            self._connect_again()
        try:
            self._requests.do(requests)
        except OSError as error:
            self._lose(error)
            self._connect_again()
            for request in requests:
                request.error, request.filled, request.chunks = None, 0, 0
            self._retry(requests)

    def _retry(self, requests: list[Request]) -> None:
        try:
            self._requests.do(requests)
        except OSError as error:
            self._lose(error)
            raise

    def _lose(self, error: OSError) -> None:
        """The connection has failed."""
        assert self._connection is not None
        self._connection.close()
        self._connection = None
        self._log.host_error("the connection to the NBD server is lost", str(error))
        if self._unflushed and not self._lost:
            self._lost = (
                "the connection to the NBD server was lost, and with it perhaps what was written "
                "and not flushed"
            )

    def _connect_again(self) -> None:
        if self._closed or (self._wait is not None and self._wait.left):
            raise OSError(errno.ENOTCONN, "there is no connection to the NBD server")
        self._wait = None
        try:
            connection, export = _connect(self._address)
        except (OSError, BimetalError) as error:
            self._wait = Countdown(BETWEEN_TRIES)
            raise OSError(errno.ENOTCONN, f"the NBD server is not reached: {error}") from error
        if (export.size, export.flags) != (self._export.size, self._export.flags):
            connection.close()
            self._wait = Countdown(BETWEEN_TRIES)
            raise OSError(errno.EIO, "the NBD server serves another disk now")
        self._connection, self._export = connection, export
        self._requests = Requests(connection, export)
        self._log.hint("there is a new connection to the NBD server")


def _first_error(requests: Sequence[Request]) -> OSError | None:
    return next((request.error for request in requests if request.error is not None), None)


def _connect(address: Address) -> tuple[socket.socket, Export]:
    """A connection to the server, and what it serves. Raises OSError and `Refused`."""
    if address.path:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    else:
        connection = socket.create_connection((address.host, address.port), TO_CONNECT)
    try:
        if address.path:
            # With Python's time limit a server whose queue is full would be an error at once.
            limit = struct.pack("@ll", int(TO_CONNECT), 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            with short_path(address.path) as short:
                connection.connect(short)
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(PATIENCE)
        return connection, negotiate(connection, address)
    except BaseException:
        connection.close()
        raise


def _check(address: Address, export: Export, readonly: bool) -> None:
    """Raise `BimetalError` for an export that cannot serve as the disk that is wanted."""
    if export.minimum > SECTOR:
        raise Refused(
            f"the export {str(address)!r} takes only blocks of {export.minimum} bytes",
            f"have it served with blocks of {SECTOR} bytes or less",
            ExitCode.UNAVAILABLE,
        )
    if export.size < SECTOR or (export.size % SECTOR and not readonly):
        raise Refused(
            f"the export {str(address)!r} has {export.size} bytes, not whole sectors of {SECTOR}",
            "have it served with another size, or open it with readonly or snapshot",
            ExitCode.DATA,
        )
    if export.flags & TransmissionFlag.READ_ONLY and not readonly:
        raise Refused(
            f"the export {str(address)!r} is only read",
            "open it with readonly or snapshot, or have it served for writing",
            ExitCode.NO_PERMISSION,
        )
