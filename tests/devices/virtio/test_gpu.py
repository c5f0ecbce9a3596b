"""The GPU: virtio 1.2, section 5.7."""

from __future__ import annotations

import random
import struct

import pytest

from bimetal.base.state import BadState
from bimetal.devices.virtio import gpu as module
from bimetal.devices.virtio.gpu import CURSOR_SIDE, VirtioGpu
from bimetal.devices.virtio.gpu_resource import ENTRIES_LIMIT
from bimetal.screen.screen import Cursor
from tests.devices.virtio.guest import (
    BASE,
    CONFIG,
    CONFIG_GENERATION,
    DEVICE_ID,
    INTERRUPT_STATUS,
    NEEDS_RESET,
    STATUS,
    Guest,
)

SIZE = 1 << 20
PICTURE = BASE + SIZE // 2
EDID = 1 << 1
DISPLAY_INFO, CREATE, UNREF, SET_SCANOUT, FLUSH, TRANSFER = range(0x100, 0x106)
ATTACH, DETACH, CAPSET_INFO, CAPSET, GET_EDID = range(0x106, 0x10B)
UPDATE_CURSOR, MOVE_CURSOR = 0x300, 0x301
OK, INFO, EDID_OK = 0x1100, 0x1101, 0x1104
UNSPECIFIED, NO_MEMORY, NO_SCANOUT, NO_RESOURCE, _, BAD = range(0x1200, 0x1206)
BGRA, BGRX, RGBX = 1, 2, 134
FENCE = 1


class Looker:
    """A viewer that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def replaced(self) -> None:
        self.heard.append("replaced")

    def drawn(self, x: int, y: int, width: int, height: int) -> None:
        self.heard.append((x, y, width, height))

    def pointed(self) -> None:
        self.heard.append("pointed")


class World:
    """A guest with a driver for its GPU; the second half of its memory is noise."""

    def __init__(self, size: int = SIZE):
        self.device = VirtioGpu(640, 480)
        self.guest = Guest(self.device, size)
        self.rings = self.guest.start(EDID, queues=2)
        self.looker = Looker()
        self.device.screen.viewers.append(self.looker)
        self.noise = random.Random(5).randbytes(size - (PICTURE - BASE))
        self.guest.space.write(PICTURE, self.noise)
        self._mark = self.guest._next

    def ask(
        self, kind: int, body: bytes = b"", room: int = 24, flags: int = 0, queue: int = 0
    ) -> bytes:
        self.guest._next = self._mark  # all of it is free again
        header = struct.pack("<IIQII", kind, flags, 0xFEED, 0, 0)
        answer = self.guest.room(room)
        self.rings[queue].submit(self.guest.place(header + body), answer)
        (used,) = self.rings[queue].completed()
        return self.guest.peek(answer)[: used.length]

    def answer(self, kind: int, *fields: int, layout: str = "I", queue: int = 0) -> int:
        body = struct.pack("<" + layout * len(fields) if len(layout) == 1 else layout, *fields)
        got: int = struct.unpack_from("<I", self.ask(kind, body, queue=queue))[0]
        return got

    def transfer(self, number: int, offset: int, *rectangle: int) -> int:
        return self.answer(TRANSFER, *rectangle, offset, number, 0, layout="<IIIIQII")

    def attach(self, number: int, *entries: tuple[int, int]) -> int:
        body = struct.pack("<II", number, len(entries))
        body += b"".join(struct.pack("<QII", *entry, 0) for entry in entries)
        got: int = struct.unpack_from("<I", self.ask(ATTACH, body))[0]
        return got

    def show(self, width: int = 64, height: int = 32, number: int = 1) -> None:
        """Have a resource with backing on the screen."""
        assert self.answer(CREATE, number, BGRX, width, height) == OK
        assert self.attach(number, (PICTURE, width * height * 4)) == OK
        assert self.answer(SET_SCANOUT, 0, 0, width, height, 0, number) == OK

    def cursor(self) -> Cursor | None:
        return self.device.screen.cursor

    def is_dark(self) -> bool:
        return self.device.screen.surface is None

    def pixels(self) -> bytes:
        surface = self.device.screen.surface
        assert surface is not None
        return bytes(surface.copy().pixels())


@pytest.fixture
def world() -> World:
    return World()


def test_what_the_driver_learns_first(world: World) -> None:
    assert world.guest.read(DEVICE_ID) == 16
    assert world.guest.offered & 0xFFFFFF == EDID
    assert [world.guest.read(CONFIG + at) for at in (0, 4, 8, 12)] == [0, 0, 1, 0]
    answer = world.ask(DISPLAY_INFO, room=500)
    assert struct.unpack_from("<IIQII", answer) == (INFO, 0, 0, 0, 0)
    assert struct.unpack_from("<IIIIII", answer, 24) == (0, 0, 640, 480, 1, 0)
    assert answer[48:] == bytes(15 * 24)


def test_the_monitor_says_what_it_is(world: World) -> None:
    answer = world.ask(GET_EDID, struct.pack("<II", 0, 0), room=2000)
    kind, size = struct.unpack_from("<I20xI4x", answer)
    block = answer[32:][:size]
    assert (kind, size, len(answer)) == (EDID_OK, 128, 24 + 8 + 1024)
    assert block.startswith(bytes.fromhex("00ffffffffffff00"))
    assert sum(block) % 256 == 0
    assert (block[56] | (block[58] & 0xF0) << 4, block[59] | (block[61] & 0xF0) << 4) == (640, 480)
    assert world.answer(GET_EDID, 1, 0) == NO_SCANOUT


def test_a_picture_comes_from_pieces_of_memory(world: World) -> None:
    width, height = 40, 30
    size = width * height * 4
    assert world.answer(CREATE, 7, BGRX, width, height) == OK
    pieces = [
        (PICTURE + 0x2000, 1000),
        (PICTURE, 16),
        (PICTURE + 16, 784),
        (PICTURE + 0x4000, 3000),
    ]
    assert world.attach(7, *pieces) == OK
    assert world.answer(SET_SCANOUT, 0, 0, width, height, 0, 7) == OK
    assert world.pixels() == bytes(size), "nothing was transferred"
    assert world.transfer(7, 0, 0, 0, width, height) == OK
    expected = b"".join(world.noise[at - PICTURE :][:length] for at, length in pieces)
    assert world.pixels() == expected
    assert not world.device.events.counts


def test_a_rectangle_comes_from_its_offset(world: World) -> None:
    world.show(64, 32)
    assert world.transfer(1, 4 * (5 * 64 + 3), 3, 5, 20, 7) == OK
    shown = world.pixels()
    for y in range(32):
        for x in range(64):
            at = 4 * (y * 64 + x)
            inside = 3 <= x < 23 and 5 <= y < 12
            assert shown[at : at + 4] == (world.noise[at : at + 4] if inside else bytes(4))


def test_viewers_hear_where_was_drawn(world: World) -> None:
    world.show(64, 32)
    assert world.answer(SET_SCANOUT, 8, 4, 40, 20, 0, 1) == OK
    world.looker.heard.clear()
    assert world.answer(FLUSH, 0, 0, 64, 32, 1, 0) == OK
    assert world.answer(FLUSH, 10, 6, 50, 3, 1, 0) == OK
    assert world.answer(FLUSH, 0, 0, 8, 4, 1, 0) == OK, "beside what is shown"
    assert world.looker.heard == [(0, 0, 40, 20), (2, 2, 38, 3)]
    surface = world.device.screen.surface
    assert surface is not None
    assert (surface.width, surface.height, surface.stride) == (40, 20, 256)


def test_a_part_of_a_resource_is_shown(world: World) -> None:
    world.show(64, 32)
    world.transfer(1, 0, 0, 0, 64, 32)
    world.answer(SET_SCANOUT, 60, 30, 4, 2, 0, 1)
    rows = [world.noise[4 * (y * 64 + 60) :][:16] for y in (30, 31)]
    assert world.pixels() == b"".join(rows)


def test_the_screen_goes_dark(world: World) -> None:
    world.show()
    assert world.answer(SET_SCANOUT, 0, 0, 0, 0, 0, 0) == OK
    assert world.is_dark()
    world.answer(SET_SCANOUT, 0, 0, 64, 32, 0, 1)
    assert world.answer(UNREF, 1, 0) == OK
    assert world.is_dark()
    assert world.answer(UNREF, 1, 0) == NO_RESOURCE


def test_fences_come_back(world: World) -> None:
    answer = world.ask(CREATE, struct.pack("<IIII", 1, BGRX, 4, 4), flags=FENCE)
    assert struct.unpack("<IIQII", answer) == (OK, FENCE, 0xFEED, 0, 0)


def test_detached_memory_is_not_read(world: World) -> None:
    world.show()
    assert world.answer(DETACH, 1, 0) == OK
    assert world.transfer(1, 0, 0, 0, 64, 32) == BAD
    assert world.answer(DETACH, 1, 0) == UNSPECIFIED
    assert world.attach(1, (PICTURE, 64 * 32 * 4)) == OK
    assert world.attach(1, (PICTURE, 64 * 32 * 4)) == UNSPECIFIED, "twice"


@pytest.mark.parametrize(
    ("kind", "fields", "answer"),
    [
        (CREATE, (0, BGRX, 4, 4), NO_RESOURCE),
        (CREATE, (1, BGRX, 4, 4), NO_RESOURCE),
        (CREATE, (2, 5, 4, 4), BAD),
        (CREATE, (2, BGRX, 0, 4), BAD),
        (CREATE, (2, BGRX, 0xFFFF_FFFF, 0xFFFF_FFFF), BAD),
        (CREATE, (2, BGRX), BAD),
        (SET_SCANOUT, (0, 0, 64, 32, 1, 1), NO_SCANOUT),
        (SET_SCANOUT, (0, 0, 64, 32, 0, 9), NO_RESOURCE),
        (SET_SCANOUT, (1, 0, 64, 32, 0, 1), BAD),
        (SET_SCANOUT, (0, 0xFFFF_FFFF, 64, 1, 0, 1), BAD),
        (SET_SCANOUT, (0, 0, 64, 0, 0, 1), BAD),
        (FLUSH, (0, 1, 64, 32, 1, 0), BAD),
        (FLUSH, (0, 0, 64, 32, 3, 0), NO_RESOURCE),
        (CAPSET_INFO, (0, 0), UNSPECIFIED),
        (0x10B, (1,), UNSPECIFIED),
        (0, (), UNSPECIFIED),
    ],
)
def test_what_cannot_be_done_says_why(
    world: World, kind: int, fields: tuple[int, ...], answer: int
) -> None:
    world.show()
    assert world.answer(kind, *fields) == answer
    assert sum(world.device.events.counts.values()) == 1
    assert not world.guest.read(STATUS) & NEEDS_RESET


@pytest.mark.parametrize(
    ("offset", "rectangle", "answer"),
    [
        (0, (0, 0, 65, 32), BAD),
        (0, (0xFFFF_FFFF, 0, 2, 2), BAD),
        (1, (0, 0, 64, 32), BAD),
        (1 << 63, (0, 0, 1, 1), BAD),
        (64 * 32 * 4 - 4, (0, 0, 1, 1), OK),
        (64 * 32 * 4 - 3, (0, 0, 1, 1), BAD),
    ],
)
def test_transfers_stay_inside(
    world: World, offset: int, rectangle: tuple[int, ...], answer: int
) -> None:
    world.show()
    assert world.transfer(1, offset, *rectangle) == answer


@pytest.mark.parametrize(
    "entry", [(0, 4096), (BASE + SIZE - 4095, 4096), ((1 << 64) - 1, 4096), (BASE, 0xFFFF_FFFF)]
)
def test_backing_is_memory(world: World, entry: tuple[int, int]) -> None:
    world.answer(CREATE, 1, BGRX, 64, 32)
    assert world.attach(1, (PICTURE, 4096), entry) == BAD
    assert world.attach(9, (PICTURE, 4096)) == NO_RESOURCE


def test_a_backing_has_the_pieces_that_it_says(world: World) -> None:
    world.answer(CREATE, 1, BGRX, 64, 32)
    entry = struct.pack("<QII", PICTURE, 4096, 0)
    for count, answer in ((2, BAD), (ENTRIES_LIMIT + 1, NO_MEMORY), (0xFFFF_FFFF, NO_MEMORY)):
        got = world.ask(ATTACH, struct.pack("<II", 1, count) + entry)
        assert struct.unpack_from("<I", got) == (answer,)


def test_memory_of_all_resources_is_limited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY_LIMIT", 3 * 4096)
    for number in (1, 2, 3):
        assert world.answer(CREATE, number, BGRX, 1, 1) == OK
    assert world.answer(CREATE, 4, BGRX, 1, 1) == NO_MEMORY
    assert world.answer(UNREF, 2, 0) == OK
    assert world.answer(CREATE, 4, BGRX, 32, 32) == OK


def test_pieces_and_resources_are_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECES_LIMIT", 3)
    monkeypatch.setattr(module, "RESOURCES_LIMIT", 2)
    assert [world.answer(CREATE, n, BGRX, 8, 8) for n in (1, 2, 3)] == [OK, OK, NO_MEMORY]
    apart = [(PICTURE + 8192 * n, 16) for n in range(2)]
    assert [world.attach(n, *apart) for n in (1, 2)] == [OK, NO_MEMORY]
    assert world.attach(2, (PICTURE, 16), (PICTURE + 16, 16)) == OK, "a single piece"


@pytest.mark.parametrize("length", [0, 1, 23])
def test_a_request_that_is_too_short(world: World, length: int) -> None:
    room = world.guest.room(24)
    short = [world.guest.place(bytes(length))] if length else []
    world.rings[0].submit(*short, room)
    (used,) = world.rings[0].completed()
    assert used.length == 0
    assert sum(world.device.events.counts.values()) == 1


def test_an_answer_has_as_much_room_as_it_is_given(world: World) -> None:
    assert world.ask(DISPLAY_INFO, room=10) == struct.pack("<IIQ", INFO, 0, 0)[:10]


# Cursors


def give_cursor(world: World, format: int = BGRA, number: int = 3) -> bytes:
    side = CURSOR_SIDE
    assert world.answer(CREATE, number, format, side, side) == OK
    assert world.attach(number, (PICTURE, side * side * 4)) == OK
    assert world.transfer(number, 0, 0, 0, side, side) == OK
    return world.noise[: side * side * 4]


def test_a_cursor_is_shown_and_hidden(world: World) -> None:
    pixels = give_cursor(world)
    place = (0, 100, 200, 0)
    world.answer(UPDATE_CURSOR, *place, 3, 5, 6, 0, queue=1)
    assert world.cursor() == Cursor(64, 64, 5, 6, pixels)
    world.answer(MOVE_CURSOR, *place, 0, 0, 0, 0, queue=1)
    assert world.cursor() == Cursor(64, 64, 5, 6, pixels)
    world.answer(UPDATE_CURSOR, *place, 0, 0, 0, 0, queue=1)
    assert world.cursor() is None
    assert world.looker.heard == ["pointed", "pointed"]
    assert not world.device.events.counts


def test_a_cursor_without_opacity_is_opaque(world: World) -> None:
    pixels = bytearray(give_cursor(world, RGBX))
    pixels[0::4], pixels[2::4], pixels[3::4] = pixels[2::4], pixels[0::4], b"\xff" * 4096
    world.answer(UPDATE_CURSOR, 0, 0, 0, 0, 3, 0, 0, 0, queue=1)
    assert world.cursor() == Cursor(64, 64, 0, 0, bytes(pixels))


@pytest.mark.parametrize(
    "fields",
    [
        (1, 0, 0, 0, 3, 0, 0, 0),
        (0, 0, 0, 0, 9, 0, 0, 0),
        (0, 0, 0, 0, 1, 0, 0, 0),
        (0, 0, 0, 0, 3, 64, 0, 0),
        (0, 0, 0, 0, 3, 0, 0xFFFF_FFFF, 0),
    ],
)
def test_a_cursor_that_cannot_be(world: World, fields: tuple[int, ...]) -> None:
    give_cursor(world)
    world.show(number=1)
    assert world.answer(UPDATE_CURSOR, *fields, queue=1) >= UNSPECIFIED
    assert world.cursor() is None


# The monitor, resets, snapshots


def test_a_monitor_of_another_size(world: World) -> None:
    before = world.guest.read(CONFIG_GENERATION)
    world.device.prefer(800, 600)
    assert world.guest.read(CONFIG) == 1
    assert world.guest.read(CONFIG_GENERATION) == before + 1
    assert world.guest.read(INTERRUPT_STATUS) & 2
    answer = world.ask(DISPLAY_INFO, room=500)
    assert struct.unpack_from("<IIIIII", answer, 24) == (0, 0, 800, 600, 1, 0)
    world.guest.write(CONFIG + 4, 1)
    assert world.guest.read(CONFIG) == 0
    world.device.prefer(800, 600)
    world.device.prefer(1 << 20, 1 << 20)
    assert world.guest.read(CONFIG) == 0


def test_a_reset_forgets_all(world: World) -> None:
    world.show()
    give_cursor(world)
    world.answer(UPDATE_CURSOR, 0, 0, 0, 0, 3, 0, 0, 0, queue=1)
    world.guest.write(STATUS, 0)
    assert world.is_dark()
    assert world.cursor() is None
    assert world.device.areas() == {}


def test_a_snapshot_has_pictures_and_where_they_come_from(world: World) -> None:
    world.show(50, 40)
    world.transfer(1, 0, 0, 0, 50, 40)
    give_cursor(world)
    world.answer(UPDATE_CURSOR, 0, 0, 0, 0, 3, 1, 2, 0, queue=1)
    other = World()
    other.guest.ram.bytes[:] = world.guest.ram.bytes
    other.device.load(world.device.save())
    theirs = world.device.areas()
    assert set(theirs) == {"resource 1", "resource 3"}
    for name, area in other.device.areas().items():
        for number, page in theirs[name].contents():
            area.put(number, page)
    assert other.pixels() == world.pixels() == world.noise[: 50 * 40 * 4]
    assert other.cursor() == world.cursor()
    other.guest.space.write(PICTURE, b"new!")
    other.rings = world.rings
    for ring in other.rings:
        ring.guest = other.guest
    other._mark = world._mark
    assert other.transfer(1, 0, 0, 0, 50, 40) == OK
    assert other.pixels().startswith(b"new!")


@pytest.mark.parametrize(
    "resources",
    [
        None,
        {1: [BGRX, 1 << 20, 1 << 20, None]},
        {1: [77, 4, 4, None]},
        {0: [BGRX, 4, 4, None]},
        {1: [BGRX, 4, 4, [[0, 4096]]]},
        {1: [BGRX, 4, 4]},
        {n: [BGRX, 4096, 4096, None] for n in range(1, 6)},
        {},
    ],
)
def test_a_state_that_cannot_be(world: World, resources: object) -> None:
    world.show()
    state = world.device.save()
    state["resources"] = resources
    with pytest.raises(BadState):
        World().device.load(state)
