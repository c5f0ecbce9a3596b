"""What devices tell of themselves: descriptors (USB 2.0, section 9.6, and USB 3.1, section 9.6)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from struct import pack

from msgspec import Struct

__all__ = [
    "BOS",
    "BULK",
    "CONFIGURATION",
    "DEVICE",
    "IN",
    "INTERRUPT",
    "QUALIFIER",
    "STRING",
    "Identity",
    "Interface",
    "Pipe",
    "Speed",
    "configuration",
    "device",
    "languages",
    "object_store",
    "qualifier",
    "text",
]

DEVICE, CONFIGURATION, STRING, INTERFACE, ENDPOINT = range(1, 6)
QUALIFIER, BOS, CAPABILITY, COMPANION = 6, 15, 16, 48
"""Types of descriptors."""

IN = 0x80
"""In an endpoint's address: data go to the host."""
BULK, INTERRUPT = 2, 3
"""Types of endpoints besides the one for control."""

FULL_SPEED_PACKET, INTERVAL_MOST = 64, 255
"""At full speed: bytes of a packet at most, and frames of 1 ms in an interval."""

ENGLISH = 0x0409
REMOTE_WAKE_UP, ALWAYS_SET = 0x20, 0x80
MAKER, PRODUCT, SERIAL = 1, 2, 3
"""Numbers of the texts that every device has, but for the serial number."""
ALL_SPEEDS, FULL_SPEED_ON = 0b1110, 1
"""That a device works at full, high and SuperSpeed, and that it does all that it can from full
speed on."""


class Speed(IntEnum):
    """How fast a device is, in the numbers of xHCI."""

    FULL = 1
    LOW = 2
    HIGH = 3
    SUPER = 4


class Identity(Struct, frozen=True):
    """Who made a device, and what it is."""

    vendor: int
    product: int
    maker: str
    name: str
    release: int = 0x0100
    device_class: int = 0
    """Its class, if that is not its interface's to say."""


class Pipe(Struct, frozen=True):
    """An endpoint. ``packet`` is the greatest packet in bytes at high speed, ``interval`` how often
    it is asked: every 2 ** (interval - 1) microframes of 125 µs."""

    address: int
    kind: int
    packet: int
    interval: int = 0


class Interface(Struct, frozen=True):
    """The one interface of a device; ``own`` are descriptors of its class."""

    class_code: int
    subclass: int
    protocol: int
    pipes: tuple[Pipe, ...]
    own: bytes = b""


def device(speed: Speed, who: Identity, serial: bool) -> bytes:
    """The device descriptor (9.6.1). Packets for control are as large as ``speed`` wants them."""
    version, packet = {Speed.SUPER: (0x0300, 9), Speed.HIGH: (0x0200, 64)}.get(speed, (0x0110, 64))
    numbers = MAKER, PRODUCT, SERIAL * serial
    own = who.vendor, who.product, who.release
    kind = who.device_class, 0, 0
    return pack("<BBHBBBBHHHBBBB", 18, DEVICE, version, *kind, packet, *own, *numbers, 1)


def qualifier() -> bytes:
    """What the device would be at full speed, and at high speed (USB 2.0, 9.6.2)."""
    return pack("<BBHBBBBBB", 10, QUALIFIER, 0x0200, 0, 0, 0, 64, 1, 0)


def configuration(speed: Speed, interface: Interface, *, wakes: bool) -> bytes:
    """The one configuration with all that belongs to it (9.6.3)."""
    body = pack(
        "<BBBBBBBBB",
        *(9, INTERFACE, 0, 0, len(interface.pipes)),
        *(interface.class_code, interface.subclass, interface.protocol, 0),
    )
    body += interface.own + b"".join(_pipe(speed, each) for each in interface.pipes)
    attributes = ALWAYS_SET | REMOTE_WAKE_UP * wakes
    return pack("<BBHBBBBB", 9, CONFIGURATION, 9 + len(body), 1, 1, 0, attributes, 50) + body


def _pipe(speed: Speed, pipe: Pipe) -> bytes:
    size, interval, burst = pipe.packet, pipe.interval, b""
    if speed is Speed.SUPER:
        size = 1024 if pipe.kind == BULK else size
        burst = pack("<BBBBH", 6, COMPANION, 15 * (pipe.kind == BULK), 0, 0)
    elif speed is Speed.FULL:
        size = min(size, FULL_SPEED_PACKET)
        interval = min(1 << interval >> 4, INTERVAL_MOST)
    return pack("<BBBBHB", 7, ENDPOINT, pipe.address, pipe.kind, size, interval) + burst


def object_store() -> bytes:
    """The capabilities of a device that can have SuperSpeed (USB 3.1, 9.6.2)."""
    extension = pack("<BBBI", 7, CAPABILITY, 2, 0)
    fast = pack("<BBBBHBBH", 10, CAPABILITY, 3, 0, ALL_SPEEDS, FULL_SPEED_ON, 0, 0)
    body = extension + fast
    return pack("<BBHB", 5, BOS, 5 + len(body), 2) + body


def languages() -> bytes:
    """The languages of texts."""
    return pack("<BBH", 4, STRING, ENGLISH)


def text(words: str) -> bytes:
    """A text, of 126 characters at most."""
    data = words[:126].encode("utf-16-le")
    return bytes((2 + len(data), STRING)) + data


def texts(who: Identity, serial: str) -> Iterable[str]:
    """The texts of a device in the order of their numbers, which count from 1."""
    return who.maker, who.name, serial
