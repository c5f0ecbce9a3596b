"""The GPU device (virtio 1.2, section 5.7): pictures in two dimensions, one screen, a cursor.

A driver makes resources, fills them from its memory, has one of them shown and says where it has
drawn. 3D, shared memory and several screens are not offered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from struct import Struct
from typing import Any

from bimetal.base.buffers import pieces, scatter
from bimetal.base.errors import GuestError
from bimetal.base.state import BadState
from bimetal.devices.display.edid import EDID_SIDE_LIMIT, edid
from bimetal.devices.turns import Turns
from bimetal.devices.virtio import gpu_format as wire
from bimetal.devices.virtio.device import VirtioDevice, Work
from bimetal.devices.virtio.gpu_format import Answer, Command
from bimetal.devices.virtio.gpu_resource import (
    ENTRIES_LIMIT,
    PIECE_COST,
    Backing,
    Rectangle,
    Resource,
)
from bimetal.devices.virtio.queue import Chain
from bimetal.devices.virtio.transport import Transport
from bimetal.memory.contents import Area
from bimetal.memory.space import AddressSpace
from bimetal.screen.screen import Cursor, Screen
from bimetal.screen.surface import Surface, fits

__all__ = ["CURSOR_SIDE", "MEMORY_LIMIT", "VirtioGpu"]

CONTROL, CURSOR = 0, 1
EDID = 1 << 1
"""Feature (5.7.3)."""

EVENT_DISPLAY = 1 << 0
EVENTS_CLEAR_AT = 4

MEMORY_LIMIT = 256 << 20
"""Bytes of all resources together."""

RESOURCES_LIMIT = 1024
PIECES_LIMIT = 1 << 18
"""Pieces of the backings of all resources together."""

REQUEST_LIMIT = wire.HEADER.size + wire.BACKING.size + ENTRIES_LIMIT * wire.ENTRY.size
"""Bytes of a request that are looked at: the longest one is a backing."""

CURSOR_SIDE = 64
"""Pixels of a side of a cursor (5.7.6.10)."""


class Refusal(Exception):
    """A request gets an answer that says why it is not carried out."""

    def __init__(self, answer: Answer):
        super().__init__(answer.name)
        self.answer = answer


class VirtioGpu(VirtioDevice):
    """A GPU whose monitor prefers ``width`` by ``height`` pixels; ``screen`` is what it shows."""

    device_id = 16
    queue_limits = (256, 16)
    offered = EDID
    saved = ("_preferred", "_scanout", "_cursor")
    fixed = ("screen", "_space", "_commands")
    derived = ("_resources",)

    def __init__(self, width: int, height: int):
        super().__init__()
        self.config[:] = wire.CONFIG.pack(0, 0, 1, 0)
        self._preferred = (width, height)
        self._resources: dict[int, Resource] = {}
        self._scanout: tuple[int, int, int, int, int] | None = None
        """The resource that is shown, and which part of it."""
        self._cursor: tuple[int, int, int, int, bytes] | None = None
        self._space: AddressSpace | None = None
        self.screen = Screen(self._surface, announces=True, resize=self.prefer)
        self._commands: dict[int, tuple[Struct, Callable[..., Iterator[int]]]] = {
            Command.RESOURCE_CREATE_2D: (wire.CREATE, self._create),
            Command.RESOURCE_UNREF: (wire.RESOURCE, self._unref),
            Command.SET_SCANOUT: (wire.SET_SCANOUT, self._set_scanout),
            Command.RESOURCE_FLUSH: (wire.WITH_RECTANGLE, self._flush),
            Command.TRANSFER_TO_HOST_2D: (wire.TRANSFER, self._transfer),
            Command.RESOURCE_DETACH_BACKING: (wire.RESOURCE, self._detach),
            Command.UPDATE_CURSOR: (wire.CURSOR, self._update_cursor),
            Command.MOVE_CURSOR: (wire.CURSOR, self._move_cursor),
        }
        """What is carried out, answers nothing but success, and has no more than these fields."""

    def plug(
        self,
        transport: Transport,
        space: AddressSpace,
        defer: Turns | None = None,
    ) -> None:
        super().plug(transport, space, defer)
        self._space = space

    def prefer(self, width: int, height: int) -> None:
        """The monitor would rather show a picture of this size; the driver hears of it, if there
        can be such."""
        if self._preferred != (width, height) and _is_preferable(width, height):
            self._preferred = (width, height)
            self._set_events(EVENT_DISPLAY)
            self.config_changed()

    # The device

    def config_written(self, offset: int, data: bytes) -> None:
        if offset == EVENTS_CLEAR_AT and len(data) == 4:
            events = int.from_bytes(self.config[:4], "little")
            self._set_events(events & ~int.from_bytes(data, "little"))
        else:
            super().config_written(offset, data)

    def work_on(self, index: int, chain: Chain) -> Work:
        data = _read(chain, REQUEST_LIMIT)
        if len(data) < wire.HEADER.size:
            self.events.guest_error("a request that is too short")
            return 0
        kind, flags, fence, context, ring = wire.HEADER.unpack_from(data)
        body = data[wire.HEADER.size :]
        answer, more = Answer.OK, b""
        try:
            if kind == Command.GET_DISPLAY_INFO:
                answer, more = Answer.DISPLAY_INFO, self._display_info()
            elif kind == Command.GET_EDID:
                answer, more = Answer.EDID, self._edid(*_fields(wire.RESOURCE, body))
            elif kind == Command.RESOURCE_ATTACH_BACKING:
                yield from self._attach(body)
            elif kind in self._commands:
                layout, work = self._commands[kind]
                yield from work(*_fields(layout, body))
            else:
                raise Refusal(Answer.UNSPECIFIED)
        except Refusal as refusal:
            self.events.guest_error(f"a request is answered with {refusal}", f"type {kind:#x}")
            answer = refusal.answer
        except GuestError as error:
            self.events.guest_error(str(error))
            answer = Answer.INVALID_PARAMETER
        fenced = flags & wire.FENCE
        header = wire.HEADER.pack(answer, fenced, fence if fenced else 0, context, ring)
        return scatter(header + more, chain.writable)

    def reset(self) -> None:
        super().reset()
        self._set_events(0)
        self._resources.clear()
        self._scanout = self._cursor = None
        self._show_again()

    def save(self) -> dict[str, Any]:
        return {
            **super().save(),
            "resources": {
                number: [
                    *(each.format, each.width, each.height),
                    None if each.backing is None else [list(e) for e in each.backing.entries],
                ]
                for number, each in self._resources.items()
            },
        }

    def load(self, state: Mapping[str, Any]) -> None:
        try:
            self._resources = self._made_of(state["resources"])
        except (GuestError, Refusal, ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadState(f"VirtioGpu cannot have these resources: {error}") from error
        super().load(state)

    def restored(self) -> None:
        super().restored()
        if self._scanout is not None:
            number, *part = self._scanout
            shown = self._resources.get(number)
            if shown is None or not Rectangle(*part).inside(shown.width, shown.height):
                raise BadState("VirtioGpu shows what it does not have")
        if not _is_preferable(*self._preferred):
            raise BadState(f"VirtioGpu has no monitor of {self._preferred}")
        if self._cursor is not None:
            *numbers, pixels = self._cursor
            if numbers[:2] != [CURSOR_SIDE] * 2 or len(pixels) != 4 * CURSOR_SIDE * CURSOR_SIDE:
                raise BadState("VirtioGpu has no such cursor")
        self._show_again()

    def areas(self) -> Mapping[str, Area]:
        return {f"resource {number}": each.area for number, each in self._resources.items()}

    # Requests: each yields what it costs, and may raise Refusal or GuestError

    def _display_info(self) -> bytes:
        shown = wire.DISPLAY.pack(0, 0, *self._preferred, 1, 0)
        return shown.ljust(wire.SCANOUTS_LIMIT * wire.DISPLAY.size, b"\0")

    def _edid(self, scanout: int, _padding: int) -> bytes:
        _check_scanout(scanout)
        block = edid(*self._preferred)
        return wire.EDID_ANSWER.pack(len(block), 0) + block.ljust(wire.EDID_ROOM, b"\0")

    def _create(self, number: int, format: int, width: int, height: int) -> Iterator[int]:
        if number == 0 or number in self._resources:
            raise Refusal(Answer.INVALID_RESOURCE)
        if len(self._resources) == RESOURCES_LIMIT:
            raise Refusal(Answer.OUT_OF_MEMORY)
        if fits(width, height):
            size = Resource.size_for(width, height)
            if size + sum(len(each.memory) for each in self._resources.values()) > MEMORY_LIMIT:
                raise Refusal(Answer.OUT_OF_MEMORY)
        self._resources[number] = Resource(format, width, height)
        yield len(self._resources[number].memory)

    def _unref(self, number: int, _padding: int) -> Iterator[int]:
        self._resource(number)
        del self._resources[number]
        if self._scanout is not None and self._scanout[0] == number:
            self._scanout = None
            self.screen.replaced()
        yield 0

    def _set_scanout(
        self, x: int, y: int, width: int, height: int, scanout: int, number: int
    ) -> Iterator[int]:
        _check_scanout(scanout)
        if number == 0:
            self._scanout = None
        else:
            resource, part = self._resource(number), Rectangle(x, y, width, height)
            if not part.inside(resource.width, resource.height):
                raise Refusal(Answer.INVALID_PARAMETER)
            self._scanout = (number, *part)
        self.screen.replaced()
        yield 0

    def _flush(
        self, x: int, y: int, width: int, height: int, number: int, _padding: int
    ) -> Iterator[int]:
        resource, part = self._resource(number), Rectangle(x, y, width, height)
        if not part.inside(resource.width, resource.height):
            raise Refusal(Answer.INVALID_PARAMETER)
        if self._scanout is not None and self._scanout[0] == number:
            shown = Rectangle(*self._scanout[1:])
            if (drawn := part.cut(shown)) is not None:
                left, top = drawn.x - shown.x, drawn.y - shown.y
                self.screen.drawn(left, top, drawn.width, drawn.height)
        yield 0

    def _transfer(
        self, x: int, y: int, width: int, height: int, offset: int, number: int, _padding: int
    ) -> Iterator[int]:
        resource, part = self._resource(number), Rectangle(x, y, width, height)
        if not part.inside(resource.width, resource.height):
            raise Refusal(Answer.INVALID_PARAMETER)
        yield from resource.transfer(part, offset)

    def _attach(self, body: bytes) -> Iterator[int]:
        number, count = _fields(wire.BACKING, body)
        resource = self._resource(number)
        if resource.backing is not None:
            raise Refusal(Answer.UNSPECIFIED)
        if count > ENTRIES_LIMIT:
            raise Refusal(Answer.OUT_OF_MEMORY)
        entries = body[wire.BACKING.size :][: count * wire.ENTRY.size]
        if len(entries) < count * wire.ENTRY.size:
            raise Refusal(Answer.INVALID_PARAMETER)
        assert self._space is not None
        made = Backing(self._space, [each[:2] for each in wire.ENTRY.iter_unpack(entries)])
        backings = [each.backing for each in self._resources.values() if each.backing]
        if len(made.entries) + sum(len(each.entries) for each in backings) > PIECES_LIMIT:
            raise Refusal(Answer.OUT_OF_MEMORY)
        resource.backing = made
        yield count * PIECE_COST

    def _detach(self, number: int, _padding: int) -> Iterator[int]:
        resource = self._resource(number)
        if resource.backing is None:
            raise Refusal(Answer.UNSPECIFIED)
        resource.backing = None
        yield 0

    def _update_cursor(
        self, scanout: int, x: int, y: int, pad: int, number: int, hot_x: int, hot_y: int, _pad: int
    ) -> Iterator[int]:
        _check_scanout(scanout)
        if number == 0:
            self._cursor = None
        else:
            resource = self._resource(number)
            if (resource.width, resource.height) != (CURSOR_SIDE, CURSOR_SIDE):
                raise Refusal(Answer.INVALID_PARAMETER)
            if max(hot_x, hot_y) >= CURSOR_SIDE:
                raise Refusal(Answer.INVALID_PARAMETER)
            whole = Rectangle(0, 0, CURSOR_SIDE, CURSOR_SIDE)
            pixels = bytearray(resource.surface(whole).copy().pixels())
            if resource.format in wire.OPAQUE:
                pixels[3::4] = b"\xff" * (CURSOR_SIDE * CURSOR_SIDE)
            self._cursor = (CURSOR_SIDE, CURSOR_SIDE, hot_x, hot_y, bytes(pixels))
        self._point()
        yield 0

    def _move_cursor(self, scanout: int, *_where: int) -> Iterator[int]:
        """Viewers draw the cursor where their own pointer is."""
        _check_scanout(scanout)
        yield 0

    # What is shown

    def _resource(self, number: int) -> Resource:
        if number not in self._resources:
            raise Refusal(Answer.INVALID_RESOURCE)
        return self._resources[number]

    def _surface(self) -> Surface | None:
        if self._scanout is None:
            return None
        number, *part = self._scanout
        return self._resources[number].surface(Rectangle(*part))

    def _show_again(self) -> None:
        self.screen.replaced()
        self._point()

    def _point(self) -> None:
        self.screen.point(None if self._cursor is None else Cursor(*self._cursor))

    def _set_events(self, events: int) -> None:
        self.config[:4] = events.to_bytes(4, "little")

    def _made_of(self, saved: Mapping[int, Any]) -> dict[int, Resource]:
        """The resources that `save` told of. Raises ValueError, `GuestError` and others."""
        assert self._space is not None
        made: dict[int, Resource] = {}
        left = MEMORY_LIMIT
        for number, (format, width, height, entries) in saved.items():
            if not fits(width, height) or not 0 < number < 1 << 32:
                raise ValueError(f"resource {number} of {width} x {height}")
            left -= Resource.size_for(width, height)
            if left < 0:
                raise ValueError("too large together")
            made[number] = Resource(format, width, height)
            if entries is not None:
                made[number].backing = Backing(self._space, [(at, size) for at, size in entries])
        return made


def _read(chain: Chain, limit: int) -> bytes:
    """The first ``limit`` bytes of a request."""
    for first in pieces(chain.readable, limit):
        return b"".join(first)
    return b""


def _is_preferable(width: int, height: int) -> bool:
    return fits(width, height) and max(width, height) <= EDID_SIDE_LIMIT


def _fields(layout: Struct, body: bytes) -> tuple[Any, ...]:
    if len(body) < layout.size:
        raise Refusal(Answer.INVALID_PARAMETER)
    return layout.unpack_from(body)


def _check_scanout(number: int) -> None:
    if number != 0:
        raise Refusal(Answer.INVALID_SCANOUT)
