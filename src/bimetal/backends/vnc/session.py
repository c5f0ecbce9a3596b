"""One client of a VNC server, without its socket: what it says, and what it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from struct import Struct
from typing import Protocol

from bimetal.backends.vnc.canvas import Canvas
from bimetal.backends.vnc.encoders import Encoder
from bimetal.backends.vnc.hello import Access, Goodbye, Hello, let_in
from bimetal.backends.vnc.moves import Move
from bimetal.backends.vnc.numbers import ClientMessage, Encoding, ServerMessage
from bimetal.backends.vnc.pixel_format import NATIVE, ClientFormat
from bimetal.backends.vnc.update import (
    copy_rectangle,
    cursor_rectangle,
    notice,
    screens_rectangle,
    update,
)
from bimetal.backends.vnc.wishes import Wishes
from bimetal.screen.damage import Area, Damage
from bimetal.screen.keys import from_keysym, from_scan_code

__all__ = ["Inputs", "Session"]

ENCODINGS_LIMIT = 1024
TEXT_LIMIT = 16 << 20
"""Bytes of a clipboard, which are read and forgotten."""
SKIPPED_AT_ONCE = 64 << 10

BY_SERVER, BY_CLIENT, FORWARDED, PROHIBITED = 0, 1, 4, 1
"""Why a size is told, and what came of a client's wish for another one."""

BUTTONS = ("left", "middle", "right")
WHEEL_UP, WHEEL_DOWN = 1 << 3, 1 << 4

_ENCODINGS = ">{}i"


class Inputs(Protocol):
    """What people type and point with, at the machine's end. May be called in the server's thread,
    without the machine's lock."""

    def key(self, code: int, down: bool) -> None:
        """A key of `bimetal.screen.keys.KEYS` goes down or up."""

    def point(self, x: int, y: int, width: int, height: int) -> None:
        """The pointer is there, in a picture of that size."""

    def button(self, name: str, down: bool) -> None:
        """A button, ``left``, ``middle`` or ``right``, goes down or up."""

    def turn(self, steps: int) -> None:
        """The wheel is turned, away from the user if that is positive."""


class Session:
    """A client that is shown ``canvas`` under the title ``name``, if ``access`` lets it in, and may
    type and point by ``inputs``. ``resize`` asks the guest for another size; None if there is no
    way to do so. ``start_tls`` has what follows go through TLS."""

    def __init__(
        self,
        canvas: Canvas,
        inputs: Inputs,
        access: Access,
        name: str,
        resize: Callable[[int, int], None] | None,
        start_tls: Callable[[], None],
    ):
        self._canvas, self._inputs, self._name = canvas, inputs, name
        self._access, self._resize, self._start_tls = access, resize, start_tls
        self.outbox = bytearray()
        """What is to be sent."""
        self.welcome = False
        """Whether it has been let in."""
        self._inbox = bytearray()
        self._talk = self._conversation()
        self._wanted = next(self._talk)
        self._format, self._wishes = NATIVE, Wishes()
        self._encoders: dict[int, Encoder] = {}
        self._width, self._height = 0, 0
        """The size of the screen, as the client knows it."""
        self._damage = Damage(0, 0)
        self._moves: list[Move] = []
        """What had moved when the canvas last changed, and the client can move, too."""
        self._request: Area | None = None
        self._update: Iterator[bytes] | None = None
        self._notices: list[bytes] = []
        self._answer = b""
        """The last one that answers a wish for another size."""
        self._canvas_size = (0, 0)
        """Of the canvas when it last changed."""
        self._cursor_told, self._has_cursor = True, False
        """Whether it knows what the cursor is now, and whether that is one of the guest's."""
        self._down: set[int] = set()
        self._buttons, self._place = 0, (0, 0)
        self._moved = False

    # For the server

    def received(self, data: bytes) -> None:
        """The client has said something. Raises `Goodbye` if nothing more is to be said."""
        self._inbox += data
        at = 0
        while len(self._inbox) - at >= self._wanted:
            piece = bytes(self._inbox[at : at + self._wanted])
            at += self._wanted
            self._wanted = self._talk.send(piece)
        del self._inbox[:at]
        self._point()

    @property
    def copies(self) -> bool:
        """Whether it can be told that something has moved."""
        return self._wishes.copy_rect

    def changed(self, damage: Damage, moves: Sequence[Move] = ()) -> None:
        """The canvas has changed here. What it knows of what has moved only since is of use if an
        update begins at once: it has had what was there."""
        size = damage.width, damage.height
        self._moves = []
        if size == self._canvas_size:
            if size == (self._width, self._height) and self._request is not None and self.copies:
                wanted = self._request
                self._moves = [each for each in moves if _covers(wanted, each.to)
                               and not self._damage.touches(each.source)]  # fmt: skip
            self._damage.merge(damage)
        else:
            self._canvas_size = size
            self._damage.add_all()

    def cursor_changed(self) -> None:
        """The canvas has another cursor."""
        self._cursor_told = False

    @property
    def waits(self) -> bool:
        """Whether it has asked for an update that has not begun."""
        return self._request is not None and self._update is None

    @property
    def owed(self) -> bool:
        """Whether it waits, and there is something to tell it."""
        if self._request is None or self._update is not None:
            return False
        news = bool(self._notices) or not self._cursor_told or self._has_other_size
        return news or self._damage.touches(self._request)

    def fill(self, room: int) -> None:
        """Put what is left of an update into the outbox, until that has ``room`` bytes, or a little
        more."""
        while self._update is not None and len(self.outbox) < room:
            piece = next(self._update, None)
            if piece is None:
                self._update = None
            else:
                self.outbox += piece

    def begin_update(self) -> None:
        """Begin an update, if one was asked for and there is something to tell."""
        if self._request is None or self._update is not None:
            return
        areas: list[Area] = []
        moves, self._moves = self._moves, []
        if self._has_other_size:
            moves = []
            self._fit()
            if self._wishes.extended_desktop_size:
                told = screens_rectangle(BY_SERVER, 0, self._width, self._height)
            else:
                told = notice(Encoding.DESKTOP_SIZE, 0, 0, self._width, self._height)
            self._notices.append(told)
        else:
            for move in moves:
                self._damage.mend(move.to)
            areas = self._damage.take(self._request)
        if not self._cursor_told:
            self._tell_cursor()
        if areas or moves or self._notices:
            notices, self._notices = [*self._notices, *map(copy_rectangle, moves)], []
            self._request = None
            encoder = self._wishes.encoder(self._encoders)
            self._update = update(notices, areas, self._canvas, encoder, self._format)

    def close(self) -> None:
        """The client is gone: it holds nothing down any more."""
        self._talk.close()
        for code in sorted(self._down):
            self._inputs.key(code, False)
        self._down.clear()
        self._press(0)

    # What the client says

    def _conversation(self) -> Hello[None]:
        yield from let_in(self._access, self._say, self._start_tls)
        self._fit()
        title = self._name.encode()
        self._say(
            ServerMessage.INIT.pack(self._width, self._height, NATIVE.wire, len(title)) + title
        )
        self.welcome = True
        messages: dict[int, Callable[[], Hello[None]]] = {
            ClientMessage.SET_PIXEL_FORMAT: self._set_pixel_format,
            ClientMessage.SET_ENCODINGS: self._set_encodings,
            ClientMessage.UPDATE_REQUEST: self._ask,
            ClientMessage.KEY: self._key_event,
            ClientMessage.POINTER: self._pointer_event,
            ClientMessage.CUT_TEXT: self._cut_text,
            ClientMessage.SET_DESKTOP_SIZE: self._set_desktop_size,
            ClientMessage.QEMU: self._qemu,
        }
        while True:
            (kind,) = yield 1
            if kind not in messages:
                raise Goodbye(f"it sent a message of the unknown type {kind}")
            yield from messages[kind]()

    def _set_pixel_format(self) -> Hello[None]:
        (data,) = ClientMessage.PIXEL_FORMAT.unpack((yield ClientMessage.PIXEL_FORMAT.size))
        try:
            self._format = ClientFormat.of(data)
        except ValueError as error:
            raise Goodbye(str(error)) from error

    def _set_encodings(self) -> Hello[None]:
        (count,) = ClientMessage.ENCODINGS.unpack((yield ClientMessage.ENCODINGS.size))
        if count > ENCODINGS_LIMIT:
            raise Goodbye(f"it named {count} encodings")
        layout = Struct(_ENCODINGS.format(count))
        self._wishes = Wishes(layout.unpack((yield layout.size)) if count else ())
        self._notices.clear()
        if self._wishes.extended_key:
            self._notices.append(notice(Encoding.EXTENDED_KEY))
        if self._wishes.extended_desktop_size:
            self._notices.append(screens_rectangle(BY_SERVER, 0, self._width, self._height))
        self._cursor_told = False

    def _ask(self) -> Hello[None]:
        layout = ClientMessage.REQUEST
        incremental, *place = layout.unpack((yield layout.size))
        area = Area(*place)
        if not incremental:
            self._damage.add(area)
        self._request = area

    def _key_event(self) -> Hello[None]:
        down, keysym = ClientMessage.KEY_EVENT.unpack((yield ClientMessage.KEY_EVENT.size))
        self._key(from_keysym(keysym), bool(down))

    def _qemu(self) -> Hello[None]:
        if (yield 1) != b"\0" or not self._wishes.extended_key:
            raise Goodbye("it sent a message of QEMU's that was not offered")
        layout = Struct(">HII")
        down, keysym, scan_code = layout.unpack((yield layout.size))
        code = from_scan_code(scan_code)
        self._key(from_keysym(keysym) if code is None else code, bool(down))

    def _pointer_event(self) -> Hello[None]:
        layout = ClientMessage.POINTER_EVENT
        buttons, *place = layout.unpack((yield layout.size))
        self._place, self._moved = (place[0], place[1]), True
        self._press(buttons)

    def _cut_text(self) -> Hello[None]:
        (length,) = ClientMessage.TEXT.unpack((yield ClientMessage.TEXT.size))
        left = abs(length)  # of the extended clipboard it is negative
        if left > TEXT_LIMIT:
            raise Goodbye(f"its clipboard has {left} bytes")
        while left:
            left -= len((yield min(left, SKIPPED_AT_ONCE)))

    def _set_desktop_size(self) -> Hello[None]:
        layout = ClientMessage.DESKTOP_SIZE
        width, height, count = layout.unpack((yield layout.size))
        if count:
            yield count * ClientMessage.SCREEN_SIZE
        if not self._wishes.extended_desktop_size:
            raise Goodbye("it set a size without having said that it can")
        status = PROHIBITED
        if self._resize is not None and width and height:
            status = FORWARDED
            self._resize(width, height)
        # Of several wishes that nobody was told of yet, the answer to the last one will do.
        self._notices = [each for each in self._notices if each != self._answer]
        self._answer = screens_rectangle(BY_CLIENT, status, self._width, self._height)
        self._notices.append(self._answer)

    # What it types and points at

    def _key(self, code: int | None, down: bool) -> None:
        if code is None:
            return
        self._point()
        (self._down.add if down else self._down.discard)(code)
        self._inputs.key(code, down)

    def _press(self, buttons: int) -> None:
        """These buttons are down, a bit each."""
        changed = self._buttons ^ buttons
        if not changed:
            return
        self._point()
        self._buttons = buttons
        for number, name in enumerate(BUTTONS):
            if changed >> number & 1:
                self._inputs.button(name, bool(buttons >> number & 1))
        pressed = changed & buttons
        if pressed & (WHEEL_UP | WHEEL_DOWN):
            self._inputs.turn(1 if pressed & WHEEL_UP else -1)

    def _point(self) -> None:
        """Tell where the pointer is: of many places on the way only the last one."""
        if self._moved:
            self._moved = False
            self._inputs.point(*self._place, max(1, self._width), max(1, self._height))

    # What it is told

    def _say(self, data: bytes) -> None:
        self.outbox += data

    def _fit(self) -> None:
        """The client knows the size that the screen has now."""
        self._width, self._height = self._canvas_size = self._canvas.width, self._canvas.height
        self._damage = Damage(self._width, self._height)
        self._damage.add_all()

    @property
    def _has_other_size(self) -> bool:
        """Whether the screen has another size than the client knows, which could follow."""
        size = self._canvas.width, self._canvas.height
        return size != (self._width, self._height) and self._wishes.resizes

    def _tell_cursor(self) -> None:
        """Have the client draw the guest's cursor, if it can. Until there is one it has its own."""
        self._cursor_told = True
        cursor, alpha = self._canvas.cursor, self._wishes.cursor_with_alpha
        able = alpha or self._wishes.cursor
        if able and (self._has_cursor or cursor is not None):
            self._has_cursor = True
            self._notices.insert(0, cursor_rectangle(cursor, self._format, alpha=alpha))


def _covers(outer: Area, inner: Area) -> bool:
    """Whether a rectangle lies wholly in another one."""
    across = outer.x <= inner.x and inner.x + inner.width <= outer.x + outer.width
    return across and outer.y <= inner.y and inner.y + inner.height <= outer.y + outer.height
