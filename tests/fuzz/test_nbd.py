"""NBD from both sides: whatever the other says, the conversation ends, or goes on by the rules."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
from collections.abc import Iterator

import pytest

from bimetal.backends.block.memory import MemoryDisk
from bimetal.backends.block.nbd.address import Address
from bimetal.backends.block.nbd.answering import answer
from bimetal.backends.block.nbd.disk import NbdDisk
from bimetal.backends.block.nbd.exported import Exported, Exports, Talk, Terms, Wire
from bimetal.backends.block.nbd.negotiation import negotiate
from bimetal.backends.block.nbd.offering import offer
from bimetal.base.errors import BimetalError

SIZE = 64 << 10
LIMIT = 32 << 20
"""Bytes that either side may want at once (proto.md, "Block size constraints")."""

QUICK, LONG = 3_000, 100_000


def option(number: int, data: bytes = b"") -> bytes:
    return b"IHAVEOPT" + struct.pack(">II", number, len(data)) + data


def request(command: int, offset: int, length: int, flags: int = 0, data: bytes = b"") -> bytes:
    return struct.pack(">IHHQQI", 0x25609513, flags, command, 7, offset, length) + data


NAMED = struct.pack(">I", 1) + b"d"
CONTEXTS = NAMED + struct.pack(">II", 1, 15) + b"base:allocation"

CLIENT = [
    struct.pack(">I", 3),
    option(3),
    option(8),
    option(9, CONTEXTS),
    option(10, CONTEXTS),
    option(6, NAMED + struct.pack(">HH", 1, 3)),
    option(7, NAMED + struct.pack(">H", 0)),
    request(0, 0, 4096),
    request(1, 512, 512, 1, b"\1" * 512),
    request(3, 0, 0),
    request(4, 8192, 4096),
    request(6, 4096, 4096, 2),
    request(7, 0, SIZE),
    request(0, 100, 10_000),
    request(2, 0, 0),
]
"""All that a client says, which is sound."""


def damaged(rng: random.Random, messages: list[bytes]) -> bytes:
    """The messages with some of them lost, doubled, exchanged, cut off or changed in a byte, a
    word or many."""
    messages = list(messages)
    for _ in range(rng.choice((0, 1, 1, 2))):
        at, other = rng.randrange(len(messages)), rng.randrange(len(messages))
        match rng.randrange(3):
            case 0:
                del messages[at]
            case 1:
                messages.insert(at, messages[other])
            case _:
                messages[at], messages[other] = messages[other], messages[at]
        if not messages:
            return b""
    data = bytearray(b"".join(messages))
    for _ in range(rng.choice((0, 1, 1, 3))):
        at = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + 4] = rng.choice((b"\xff" * 4, bytes(4), b"\x7f" + b"\xff" * 3))
            case 2:
                data[at : at + 8] = rng.randbytes(8)
            case _:
                del data[at:]
                break
    return bytes(data)


def serve(export: Exported, wire: Wire) -> Talk:
    terms = Terms()
    if (yield from offer(Exports(export), terms, wire)):
        yield from answer(export, terms, wire)


def hear(data: bytes) -> None:
    """Have a server hear ``data``: it wants no more at once than it may, and says little."""
    disk, wire = MemoryDisk(SIZE), Wire()
    talk = serve(Exported(disk, "d"), wire)
    wanted, at = next(talk), 0
    with contextlib.suppress(StopIteration):
        while at + wanted <= len(data):
            assert wanted <= LIMIT
            piece, at = data[at : at + wanted], at + wanted
            wanted = talk.send(piece)
            assert sum(map(len, wire.buffers)) <= SIZE + 4096
            wire.buffers.clear()
    talk.close()
    assert len(disk.content) == SIZE


@pytest.mark.parametrize("trials", [QUICK, pytest.param(LONG, marks=pytest.mark.slow)])
def test_clients_that_say_anything(trials: int) -> None:
    rng = random.Random(trials)
    for _ in range(trials):
        hear(damaged(rng, CLIENT))


def test_the_sound_client_is_served() -> None:
    wire = Wire()
    disk = MemoryDisk(SIZE)
    talk = serve(Exported(disk, "d"), wire)
    data = b"".join(CLIENT)
    wanted, at = next(talk), 0
    with contextlib.suppress(StopIteration):
        while at <= len(data):
            piece, at = data[at : at + wanted], at + wanted
            wanted = talk.send(piece)
    assert at == len(data), "it hung up when it was told to"
    assert disk.content[512:1024] == b"\1" * 512


# The client


def answer_to(number: int, kind: int, data: bytes = b"") -> bytes:
    return struct.pack(">QIII", 0x3E889045565A9, number, kind, len(data)) + data


def chunk(kind: int, cookie: int, data: bytes = b"", flags: int = 1) -> bytes:
    return struct.pack(">IHHQI", 0x668E33EF, flags, kind, cookie, len(data)) + data


GREETING = b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3)

SERVER = [
    GREETING,
    answer_to(8, 1),
    answer_to(10, 4, struct.pack(">I", 0) + b"base:allocation"),
    answer_to(10, 1),
    answer_to(7, 3, struct.pack(">HQH", 0, SIZE, 0x1ED)),
    answer_to(7, 3, struct.pack(">HIII", 3, 1, 4096, LIMIT)),
    answer_to(7, 1),
    chunk(1, 1, struct.pack(">Q", 0) + b"\1" * 1024, flags=0),
    chunk(2, 1, struct.pack(">QI", 1024, 3072)),
    chunk(0, 2),
    chunk(0x8001, 3, struct.pack(">IH", 28, 4) + b"full"),
    chunk(5, 4, struct.pack(">III", 0, SIZE, 3)),
    chunk(0, 5),
]
"""All that a server says to `use`, which is sound."""


def use(disk: NbdDisk) -> Iterator[bytes | list[object] | None]:
    """Ask for all there is; the answers."""
    yield disk.read(0, 4096)
    disk.write(0, b"\2" * 512)
    with contextlib.suppress(OSError):
        disk.write_zeroes(0, 512)
    yield list(disk.extents(0, disk.size))
    disk.flush()


def talk_to(data: bytes) -> list[object]:
    """Have a disk hear ``data`` from its server, which then hangs up."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        address = Address("d", path="/nobody/is/there")
        disk = NbdDisk(address, ours, negotiate(ours, address), readonly=False)
        with contextlib.closing(disk):
            return list(use(disk))


def test_the_sound_server_is_understood() -> None:
    data, extents = talk_to(b"".join(SERVER))
    assert data == b"\1" * 1024 + bytes(3072)
    assert isinstance(extents, list)
    assert [(extent.length, extent.zero) for extent in extents] == [(SIZE, True)]


@pytest.mark.parametrize("trials", [QUICK, pytest.param(LONG, marks=pytest.mark.slow)])
def test_servers_that_say_anything(trials: int) -> None:
    rng = random.Random(trials)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(trials):
        with contextlib.suppress(OSError, BimetalError):
            talk_to(damaged(rng, SERVER))
    assert len(os.listdir("/proc/self/fd")) == before
