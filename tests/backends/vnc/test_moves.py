"""What has only moved is copied by viewers (CopyRect), and they see what is on the screen all the
same."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal.backends.vnc import session
from bimetal.backends.vnc.canvas import Canvas
from bimetal.backends.vnc.hello import Access
from bimetal.backends.vnc.moves import Move, MoveFinder
from bimetal.backends.vnc.session import Session
from bimetal.backends.vnc.update import copy_rectangle
from bimetal.screen.damage import TILE, Damage
from tests.backends.vnc.served import Desk, Viewer, port_of, served, until, viewer_program

RAW, COPY_RECT = 0, 1
WIDTH, HEIGHT = 517, 389
"""No whole tiles."""


class Copying:
    """A viewer that knows Raw and CopyRect, without a socket, and its ``picture``, of which so many
    pixels were ``copied``."""

    def __init__(self, desk: Desk):
        self.canvas = Canvas(desk.screen, lambda: desk.lock, lambda: None)
        self.canvas.look()
        self.session = Session(self.canvas, desk, Access(), "desk", None, lambda: None)
        self.width, self.height = self.canvas.width, self.canvas.height
        self.picture = bytearray(4 * self.width * self.height)
        self.copied = 0
        self.session.received(b"RFB 003.008\n\1\1")
        self.session.received(struct.pack(">BxHii", 2, 2, COPY_RECT, RAW))
        self.session.outbox.clear()

    def ask(self, *area: int) -> None:
        """Ask for what has changed in an area, or anywhere."""
        where = area or (0, 0, self.width, self.height)
        self.session.received(struct.pack(">BBHHHH", 3, 1, *where))

    def look(self) -> None:
        """What the server does when it is time to look."""
        waits = self.session.waits
        damage = self.canvas.look(moves=waits)
        if damage:
            self.session.changed(damage, self.canvas.moves if waits else ())
        if waits:
            self.session.begin_update()

    def read(self, room: int = 1 << 30) -> None:
        """Take what the server has to send, or only as much as there is ``room`` for."""
        self.session.fill(room)
        data = bytes(self.session.outbox)
        self.session.outbox.clear()
        self._apply(iter((data,)) if data else iter(()))

    def _apply(self, pieces: Iterator[bytes]) -> None:
        data = b"".join(pieces)
        at = 0
        while at < len(data):
            if not self._left:
                _, self._left = struct.unpack_from(">BxH", data, at)
                at += 4
                continue
            x, y, width, height, encoding = struct.unpack_from(">HHHHi", data, at)
            at += 12
            self._left -= 1
            if encoding == COPY_RECT:
                source = struct.unpack_from(">HH", data, at)
                at += 4
                self.copied += width * height
                self._put(x, y, width, self._rows(source[0], source[1], width, height))
            else:
                assert encoding == RAW
                row = 4 * width
                self._put(x, y, width, [data[at + n * row :][:row] for n in range(height)])
                at += height * row

    _left = 0

    def _rows(self, x: int, y: int, width: int, height: int) -> list[bytes]:
        assert x + width <= self.width
        assert y + height <= self.height
        starts = range(
            4 * (y * self.width + x), 4 * ((y + height) * self.width + x), 4 * self.width
        )
        return [bytes(self.picture[at : at + 4 * width]) for at in starts]

    def _put(self, x: int, y: int, width: int, rows: list[bytes]) -> None:
        for number, row in enumerate(rows):
            at = 4 * ((y + number) * self.width + x)
            self.picture[at : at + 4 * width] = row


def text(dice: random.Random, width: int, height: int) -> bytes:
    """A screen full of letters of 8 by 16 pixels, in two colours, with empty lines."""
    letters = [[dice.getrandbits(8) for _ in range(16)] for _ in range(30)]
    rows = []
    for _ in range(-(-height // 16)):
        line = [dice.choice(letters) if dice.random() < 0.8 else [0] * 16
                for _ in range(-(-width // 8))]  # fmt: skip
        if dice.random() < 0.1:
            line = [[0] * 16] * len(line)
        for row in range(16):
            bits = "".join(f"{letter[row]:08b}" for letter in line)[:width]
            rows.append(b"".join(b"\0\0\0\0" if bit == "0" else b"\xc0\xc0\xc0\0" for bit in bits))
    return b"".join(rows[:height])


def shift(desk: Desk, area: tuple[int, int, int, int], right: int, down: int) -> None:
    """Move a rectangle of the screen, as a guest does."""
    x, y, width, height = area
    old = bytes(desk.memory)
    row = 4 * desk.width
    for number in range(height):
        to_y = y + number + down
        if not 0 <= to_y < desk.height:
            continue
        left, end = max(0, x + right), min(desk.width, x + width + right)
        if left < end:
            at, start = to_y * row + 4 * left, (y + number) * row + 4 * (left - right)
            desk.memory[at : at + 4 * (end - left)] = old[start : start + 4 * (end - left)]
    with desk.lock:
        desk.screen.drawn(0, 0, desk.width, desk.height)


def change(desk: Desk, dice: random.Random) -> None:
    """Something happens on the screen."""
    match dice.randrange(5):
        case 0:
            shift(desk, (0, 0, desk.width, desk.height), 0, dice.choice((-16, 16, -32, -3, 80)))
        case 1:
            x, y = dice.randrange(desk.width), dice.randrange(desk.height)
            width, height = dice.randrange(1, desk.width), dice.randrange(1, desk.height)
            area = x, y, min(width, desk.width - x), min(height, desk.height - y)
            shift(desk, area, dice.randrange(-90, 91), dice.randrange(-90, 91))
        case 2:
            width, height = dice.randrange(1, 200), dice.randrange(1, 200)
            x, y = dice.randrange(desk.width - width), dice.randrange(desk.height - height)
            desk.draws(x, y, width, height, dice.randbytes(3) + b"\0")
        case 3:
            y = dice.randrange(desk.height - 40)
            at = 4 * desk.width * y
            desk.memory[at : at + 4 * desk.width * 40] = text(dice, desk.width, 40)
            with desk.lock:
                desk.screen.drawn(0, y, desk.width, 40)


@pytest.mark.parametrize("seed", range(12))
def test_a_viewer_sees_what_is_there_whatever_moves(seed: int) -> None:
    """Asked for or not, read at once, in part or not at all, everything or a part of the screen."""
    dice = random.Random(seed)
    desk = Desk(WIDTH, HEIGHT)
    desk.shows(WIDTH, HEIGHT, text(dice, WIDTH, HEIGHT))
    viewer = Copying(desk)
    for _ in range(60):
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            change(desk, dice)
        if dice.random() < 0.7:
            part = dice.random() < 0.2
            viewer.ask(*((40, 30, 300, 200) if part else ()))
        viewer.look()
        if dice.random() < 0.8:
            viewer.read(dice.choice((1, 1 << 18, 1 << 30)))
        if dice.random() < 0.2:
            settle(viewer)
            assert viewer.picture == desk.memory
    settle(viewer)
    assert viewer.picture == desk.memory
    assert viewer.copied


def settle(viewer: Copying) -> None:
    """Have the viewer see all that there is."""
    for _ in range(3):
        viewer.read()
        viewer.ask()
        viewer.look()
        viewer.read()


@pytest.mark.parametrize("down", [-16, 16])
def test_a_text_that_scrolls_is_copied(down: int) -> None:
    """All but the tiles in which there is something new."""
    dice = random.Random(7)
    desk = Desk(1024, 768)
    desk.shows(1024, 768, text(dice, 1024, 768))
    viewer = Copying(desk)
    settle(viewer)
    shift(desk, (0, 0, 1024, 768), 0, down)
    viewer.ask()
    viewer.look()
    viewer.read()
    assert viewer.picture == desk.memory
    assert viewer.copied == 1024 * (768 - TILE)


def test_a_window_that_is_dragged_is_copied() -> None:
    dice = random.Random(8)
    desk = Desk(1024, 768)
    desk.draws(0, 0, 1024, 768, b"\x60\x40\x20\0")
    window = 300, 200, 400, 300
    letters = text(dice, 400, 300)
    for row in range(300):
        at = 4 * ((200 + row) * 1024 + 300)
        desk.memory[at : at + 1600] = letters[1600 * row :][:1600]
    viewer = Copying(desk)
    settle(viewer)
    shift(desk, window, 37, -21)
    viewer.ask()
    viewer.look()
    viewer.read()
    assert viewer.picture == desk.memory
    assert viewer.copied >= 400 * 300 // 2


def test_what_has_not_moved_is_not_found() -> None:
    dice = random.Random(9)
    old, new = (text(dice, 512, 512) for _ in range(2))
    damage = Damage(512, 512)
    damage.add_all()
    assert MoveFinder().find(memoryview(old), new, damage) == []
    assert MoveFinder().find(memoryview(bytes(1 << 20)), b"\1" * (1 << 20), damage) == []


def test_other_peoples_viewer_sees_a_text_scroll(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice, desk, copied = random.Random(10), Desk(640, 480), list[Move]()
    desk.shows(640, 480, text(dice, 640, 480))

    def told(move: Move) -> bytes:
        copied.append(move)
        return copy_rectangle(move)

    monkeypatch.setattr(session, "copy_rectangle", told)
    with served(desk) as server:
        viewer = Viewer(viewer_program(tmp_path), port_of(server), "copyrect zrle raw")
        for _ in range(5):
            shift(desk, (0, 0, 640, 480), 0, -16)
            until(lambda: viewer.held(tmp_path / "held.ppm") == ((640, 480), desk.rgb))
        assert len(copied) >= 4  # the first picture may come together with a change
        assert viewer.close() == 0
