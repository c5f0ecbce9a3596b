"""Where a device is plugged in, as a number: the socket of the controller in the lowest four bits,
and in the next four each the port of a hub, from hub to hub (the routes of USB 3.1, 8.9). People
write it with dots: ``1.2`` is port 2 of the hub in socket 1."""

from __future__ import annotations

__all__ = ["DEPTH_LIMIT", "depth", "is_behind", "last", "parent", "socket_named", "socket_text"]

DEPTH_LIMIT = 6
"""Numbers in a place: behind a socket there are five hubs at most (USB 2.0, 4.1.1)."""
NUMBER_LIMIT = 15


def socket_named(text: str) -> int:
    """The number of a place that people have written, 0 for no text. Raises ValueError."""
    if not text:
        return 0
    words = text.split(".")
    if len(words) > DEPTH_LIMIT:
        raise ValueError(f"{text[:40]!r} is behind too many hubs")
    place = 0
    for at, word in enumerate(words):
        known = word.isascii() and word.isdecimal() and len(word) <= 2
        if not known or not 0 < int(word) <= NUMBER_LIMIT:
            raise ValueError(f"{text[:40]!r} is no place on USB")
        place |= int(word) << 4 * at
    return place


def socket_text(place: int) -> str:
    """The inverse of `socket_named`."""
    return ".".join(str(place >> 4 * at & 15) for at in range(depth(place)))


def depth(place: int) -> int:
    """How many numbers a place has."""
    return -(-place.bit_length() // 4)


def parent(place: int) -> int:
    """The place of the hub that it is at; 0 if it is at the controller."""
    return place & (1 << 4 * max(0, depth(place) - 1)) - 1


def last(place: int) -> int:
    """The number of the port there, or of the socket."""
    return place >> 4 * max(0, depth(place) - 1)


def is_behind(place: int, hub: int) -> bool:
    """Whether a place is behind that of a ``hub``, or is that itself."""
    return place & (1 << 4 * depth(hub)) - 1 == hub
