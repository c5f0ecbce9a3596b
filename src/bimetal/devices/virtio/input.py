"""Input devices (virtio 1.2, section 5.8): a keyboard, and a tablet that says where it points.

Events are those of Linux's evdev (include/uapi/linux/input-event-codes.h). They wait for a driver
that is slow, but not without limit: what would be too much is not pressed, and moves to where the
pointer was on its way are left out; what is down is always released.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

import msgspec

from bimetal.base.buffers import scatter
from bimetal.devices.virtio.device import VirtioDevice, Work
from bimetal.devices.virtio.queue import Chain, QueueError
from bimetal.screen.inputs import BUTTONS, RANGE
from bimetal.screen.keys import KEYS

__all__ = ["Kind", "VirtioInput", "keyboard", "tablet"]

EVENTS, STATUS = 0, 1

NAME, SERIAL, IDENTITY, BITS, AXIS = 0x01, 0x02, 0x03, 0x11, 0x12
"""What the driver may select (5.8.4)."""

SYNC, KEY, RELATIVE, ABSOLUTE, LED, REPEAT = 0x00, 0x01, 0x02, 0x03, 0x11, 0x14
WHEEL, X, Y = 0x08, 0x00, 0x01

WAITING_LIMIT = 256
"""Events that wait for a driver, besides those that release something."""

EVENT_COST = 1 << 10

CONFIG_SIZE, CHOICE_SIZE, CONTENT_AT = 136, 2, 8

_EVENT = Struct("<HHi")
_IDENTITY = Struct("<HHHH")
"""Bus, vendor, product, version."""
_AXIS = Struct("<IIIII")
"""Smallest, greatest, noise, dead zone, resolution."""

VIRTUAL_BUS = 0x06
KEYBOARD, OTHER_INPUT = 0x09_0000, 0x09_8000
"""Classes on PCI."""

Event = tuple[int, int, int]
"""Type, code, value."""


class Kind(msgspec.Struct, frozen=True):
    """What an input device is: its name, its product number, its class on PCI, and the codes that
    it has of each type of events."""

    name: str
    product: int
    pci_class: int
    codes: dict[int, tuple[int, ...]] = msgspec.field(default_factory=dict)


def keyboard() -> Kind:
    """A keyboard with all `KEYS`, three lights, and a system that repeats what is held down."""
    keys = tuple(sorted(KEYS.values()))
    return Kind("Bimetal virtio keyboard", 1, KEYBOARD, {KEY: keys, REPEAT: (0, 1), LED: (0, 1, 2)})


def tablet() -> Kind:
    """A tablet with `BUTTONS` and a wheel."""
    codes = {KEY: tuple(BUTTONS.values()), RELATIVE: (WHEEL,), ABSOLUTE: (X, Y)}
    return Kind("Bimetal virtio tablet", 2, OTHER_INPUT, codes)


class VirtioInput(VirtioDevice):
    """An input device of a ``kind``."""

    device_id = 18
    queue_limits = (64, 64)
    saved = ("_waiting_events", "_down")
    fixed = ("kind",)

    def __init__(self, kind: Kind):
        super().__init__()
        self.kind = kind
        self.config[:] = bytes(CONFIG_SIZE)
        self._waiting_events: list[Event] = []
        self._down: set[int] = set()
        """Keys and buttons that the driver has heard, or will hear, to be down."""

    # For those who type and point

    @property
    def listens(self) -> bool:
        """Whether there is a driver, and it takes what happens."""
        return self.running and len(self._waiting_events) < WAITING_LIMIT

    def press(self, code: int, down: bool) -> None:
        """A key, or a button, goes down or up; nothing happens if the device does not have it, or
        if that is what it is already."""
        if code not in self.kind.codes[KEY] or (code in self._down) == down:
            return
        if down and len(self._waiting_events) >= WAITING_LIMIT:
            return
        if self._take(((KEY, code, int(down)),)):
            (self._down.add if down else self._down.discard)(code)

    def release_all(self) -> None:
        """Whatever is down goes up."""
        for code in sorted(self._down):
            self.press(code, False)

    def point(self, x: int, y: int) -> None:
        """The tablet points there, from 0 to `RANGE` each."""
        move = [(ABSOLUTE, X, min(max(x, 0), RANGE)), (ABSOLUTE, Y, min(max(y, 0), RANGE))]
        waiting = self._waiting_events
        if [event[:2] for event in waiting[-3:]] == [(ABSOLUTE, X), (ABSOLUTE, Y), (SYNC, 0)]:
            waiting[-3:-1] = move
        elif len(waiting) < WAITING_LIMIT:
            self._take(move)

    def move(self, right: int, down: int) -> None:
        """There is nothing that says how far it goes."""

    def turn(self, steps: int) -> None:
        """The wheel is turned, away from the user if that is positive."""
        if len(self._waiting_events) < WAITING_LIMIT:
            self._take(((RELATIVE, WHEEL, min(max(steps, -100), 100)),))

    def _take(self, events: Iterable[Event]) -> bool:
        """Have the driver hear of something; False if there is none."""
        if self.running:
            self._waiting_events += [*events, (SYNC, 0, 0)]
            self.look(EVENTS)
        return self.running

    # The device

    def has_use_for(self, index: int) -> bool:
        return index == STATUS or bool(self._waiting_events)

    def work_on(self, index: int, chain: Chain) -> Work:
        yield EVENT_COST
        if index == STATUS:
            return 0  # lights, which nobody looks at
        if not chain.writable:
            raise QueueError("a buffer for an event is not writable")
        return scatter(_EVENT.pack(*self._waiting_events.pop(0)), chain.writable)

    def config_written(self, offset: int, data: bytes) -> None:
        if offset + len(data) > CHOICE_SIZE:
            super().config_written(offset, data)
            return
        self.config[offset : offset + len(data)] = data
        content = self._chosen(self.config[0], self.config[1])
        self.config[CHOICE_SIZE:] = bytes(CONFIG_SIZE - CHOICE_SIZE)
        self.config[CHOICE_SIZE] = len(content)
        self.config[CONTENT_AT : CONTENT_AT + len(content)] = content

    def reset(self) -> None:
        super().reset()
        self.config[:] = bytes(CONFIG_SIZE)
        self._waiting_events.clear()
        self._down.clear()

    def _chosen(self, select: int, which: int) -> bytes:
        """What the driver reads after it has selected something (5.8.4)."""
        codes = self.kind.codes
        if select == NAME:
            return self.kind.name.encode()
        if select == IDENTITY:
            return _IDENTITY.pack(VIRTUAL_BUS, 0, self.kind.product, 1)
        if select == BITS and which in codes:
            bits = sum(1 << code for code in codes[which])
            return bits.to_bytes(bits.bit_length() + 7 >> 3, "little")
        if select == AXIS and which in codes.get(ABSOLUTE, ()):
            return _AXIS.pack(0, RANGE, 0, 0, 0)
        return b""
