"""The 9P device: virtio 1.2, section 5.15, over a folder of the host."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal.backends.share.folder import Folder
from bimetal.backends.share.server import Server
from bimetal.backends.share.wire import HEADER, Kind
from bimetal.base.state import BadState
from bimetal.devices.virtio.ninep import VirtioNinep
from tests.backends.share.client import text
from tests.devices.virtio.guest import CONFIG, DEVICE_ID, NEEDS_RESET, STATUS, Guest, Used

VERSION = struct.pack("<I", 8192) + text(b"9P2000.L")


def message(kind: int, body: bytes = b"") -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, 1) + body


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    guest = Guest(VirtioNinep(Server(Folder(str(tmp_path))), "work"))
    yield guest
    guest.slot.close()


def test_the_tag_is_in_the_configuration(guest: Guest) -> None:
    assert guest.read(DEVICE_ID) == 9
    assert guest.offered & 1
    assert guest.read(CONFIG, 2) == 4
    assert bytes(guest.read(CONFIG + 2 + n, 1) for n in range(4)) == b"work"


@pytest.mark.parametrize("tag", ["", "x" * 256])
def test_tags_that_cannot_be(tmp_path: Path, tag: str) -> None:
    server = Server(Folder(str(tmp_path)))
    with pytest.raises(ValueError, match="tag"):
        VirtioNinep(server, tag)
    server.close()


def test_messages_may_lie_in_pieces(guest: Guest) -> None:
    (ring,) = guest.start()
    request = message(Kind.VERSION, VERSION)
    pieces = [guest.place(request[:3]), guest.place(request[3:9]), guest.place(request[9:])]
    rooms = [guest.room(5), guest.room(8), guest.room(100)]
    head = ring.submit(*pieces, *rooms)
    expected = message(Kind.VERSION + 1, VERSION)
    assert ring.completed() == [Used(head, len(expected))]
    assert b"".join(guest.peek(room) for room in rooms)[: len(expected)] == expected


def test_an_answer_has_room_for_an_error_at_least(guest: Guest) -> None:
    (ring,) = guest.start()
    ring.submit(guest.place(message(Kind.VERSION, VERSION)), guest.room(10))
    assert guest.read(STATUS) & NEEDS_RESET
    (ring,) = guest.start()
    room = guest.room(11)
    ring.submit(guest.place(message(Kind.VERSION, VERSION)), room)
    assert guest.peek(room)[4] == Kind.ERROR + 1, "the answer would not fit"


def test_a_request_may_be_larger_than_any_message(guest: Guest) -> None:
    (ring,) = guest.start()
    size = 600 << 10
    address = guest.allocate(size)
    guest.space.write(address, HEADER.pack(size, Kind.WRITE, 1))
    room = guest.room(64)
    ring.submit((address, size, 0), room)
    assert guest.peek(room)[4] == Kind.ERROR + 1


def test_a_reset_forgets_what_was_open(guest: Guest) -> None:
    for _ in range(2):
        (ring,) = guest.start()
        room = guest.room(64)
        attach = struct.pack("<II", 0, 0xFFFF_FFFF) + text(b"") * 2 + struct.pack("<I", 0)
        ring.submit(guest.place(message(Kind.ATTACH, attach)), room)
        assert guest.peek(room)[4] == Kind.ATTACH + 1, "fid 0 is free"


def test_what_is_open_survives_a_snapshot(guest: Guest, tmp_path: Path) -> None:
    (ring,) = guest.start()
    room = guest.room(64)
    attach = struct.pack("<II", 0, 0xFFFF_FFFF) + text(b"") * 2 + struct.pack("<I", 0)
    ring.submit(guest.place(message(Kind.ATTACH, attach)), room)
    state = guest.slot.save()
    other = Guest(VirtioNinep(Server(Folder(str(tmp_path))), "work"))
    other.ram.bytes[:] = bytes(guest.ram.bytes)
    other.slot.load(state)
    ring.guest = other
    other._next = guest._next
    ring.submit(
        other.place(message(Kind.GETATTR, struct.pack("<IQ", 0, 1))), place := other.room(200)
    )
    assert other.peek(place)[4] == Kind.GETATTR + 1
    other.slot.close()


@pytest.mark.parametrize("share", [None, {}, {"limit": 1, "fids": {0: None}}])
def test_a_damaged_state_is_told(guest: Guest, share: object) -> None:
    state = guest.slot.save()
    state["device"]["share"] = share
    with pytest.raises(BadState):
        guest.slot.load(state)
