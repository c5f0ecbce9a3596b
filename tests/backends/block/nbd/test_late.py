"""Transfers of an NBD disk that are made together are under way together."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal import images
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.nbd.address import Address
from bimetal.backends.block.nbd.disk import NbdDisk
from bimetal.backends.block.nbd.negotiation import Export
from bimetal.backends.block.nbd.protocol import (
    REQUEST,
    SIMPLE_MAGIC,
    SIMPLE_REPLY,
    Command,
    Error,
    TransmissionFlag,
)
from bimetal.base.transfers import Transfer
from tests.backends.block.late import transfer_all
from tests.backends.block.nbd.serving import MIB, served

SIZE = 64 << 10
SECTOR = 512


class Patient:
    """A server that answers once it has ``count`` requests, the last one first. Reads at an odd
    sector fail."""

    def __init__(self, connection: socket.socket, count: int):
        self._file, self._count = connection.makefile("rwb"), count
        self.asked: list[tuple[int, int]] = []

    def run(self) -> None:
        answers = []
        for _ in range(self._count):
            _, _, command, cookie, offset, length = REQUEST.unpack(self._file.read(REQUEST.size))
            self.asked.append((command, offset))
            if command == Command.WRITE:
                self._file.read(length)
                answers.append(SIMPLE_REPLY.pack(SIMPLE_MAGIC, 0, cookie))
            elif offset // SECTOR % 2:
                answers.append(SIMPLE_REPLY.pack(SIMPLE_MAGIC, Error.IO, cookie))
            else:
                data = bytes((offset // SECTOR,)) * length
                answers.append(SIMPLE_REPLY.pack(SIMPLE_MAGIC, 0, cookie) + data)
        self._file.write(b"".join(reversed(answers)))
        self._file.flush()


@contextlib.contextmanager
def patient(count: int) -> Iterator[tuple[NbdDisk, Patient]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    server = Patient(theirs, count)
    thread = threading.Thread(target=server.run)
    thread.start()
    export = Export(SIZE, TransmissionFlag.HAS_FLAGS | TransmissionFlag.FLUSH)
    disk = NbdDisk(Address("", "nowhere", 1), ours, export, readonly=False)
    yield disk, server
    thread.join(60)
    assert not thread.is_alive()
    theirs.close()
    ours.close()


def test_all_are_asked_before_any_is_answered() -> None:
    with patient(4) as (disk, server):
        rooms = [bytearray(SECTOR) for _ in range(3)]
        transfers = [
            Transfer(sector * SECTOR, [memoryview(room)], writes=False)
            for sector, room in zip((2, 5, 8), rooms, strict=True)
        ]
        transfers.insert(1, Transfer(SECTOR, [memoryview(b"w" * SECTOR)], writes=True))
        assert disk.flushing() is None
        transfer_all(disk, transfers, random.Random(0))
        assert [offset // SECTOR for _, offset in server.asked] == [2, 1, 5, 8]
        assert (rooms[0][0], rooms[2][0]) == (2, 8)
        errors = [each.error for each in transfers]
        assert [error is None for error in errors] == [True, True, False, True]
        assert disk.flushing() is not None, "something was written"


def test_where_there_is_no_connection_all_fail() -> None:
    with patient(0) as (disk, _):
        assert disk._connection is not None
        disk._connection.shutdown(socket.SHUT_RDWR)
        transfers = [
            Transfer(offset, [memoryview(bytearray(SECTOR))], writes=False) for offset in (0, 512)
        ]
        transfer_all(disk, transfers, random.Random(0))
        assert all(isinstance(each.error, OSError) for each in transfers)


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_a_served_image_has_what_was_written(tmp_path: Path, format: str) -> None:
    rng, model = random.Random(format), bytearray(2 * MIB)
    path = tmp_path / "disk.img"
    images.create(str(path), len(model), format=format)
    with served(path, format=format) as address, contextlib.closing(open_disk(address)) as disk:
        for _ in range(20):
            transfers, reads = [], []
            for start in rng.sample(range(0, len(model), 64 << 10), 8):
                length = SECTOR * rng.randrange(1, 128)
                if rng.random() < 0.5:
                    data = bytearray(rng.randbytes(length))
                    model[start : start + length] = data
                    transfers.append(Transfer(start, [memoryview(data)], writes=True))
                else:
                    data = bytearray(length)
                    reads.append((start, data))
                    transfers.append(Transfer(start, [memoryview(data)], writes=False))
            transfer_all(disk, transfers, rng)
            assert not any(each.error for each in transfers)
            for start, data in reads:
                assert data == model[start : start + len(data)]
