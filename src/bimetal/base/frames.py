"""Ethernet frames on their way between a NIC and a network, and what is left to be done to them.

A frame begins with the destination's address and ends without the check sequence (IEEE 802.3).
It may be *offloaded*: longer than the wire allows, to be cut into TCP segments, or without a
checksum, if whoever gets it has said that it does the rest. How that is told is the header of
virtio's network packets (virtio 1.2, 5.1.6), which Linux has at its tap devices too.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple, Protocol

__all__ = [
    "CHECKSUM_VALID",
    "ETHERNET_HEADER",
    "FRAME_LIMIT",
    "NEEDS_CHECKSUM",
    "OFFLOAD_HEADER",
    "PLAIN",
    "Frame",
    "Offload",
    "Offloads",
    "Port",
    "Segmentation",
]

ETHERNET_HEADER = 14
"""Bytes of the two addresses and the type, which every frame has."""

FRAME_LIMIT = ETHERNET_HEADER + 4 + 0xFFFF
"""Bytes of the longest frame, one to be cut: an Ethernet header, a VLAN tag and an IP packet."""

OFFLOAD_HEADER = Struct("<BBHHHH")
"""An `Offload` as bytes: the 10 bytes that begin virtio_net_hdr, little-endian."""


NEEDS_CHECKSUM, CHECKSUM_VALID = 1, 2
"""Flags of an `Offload`. The second one says that somebody has checked the checksum already."""


class Segmentation:
    """Values of `Offload.segmentation`: what the payload is to be cut into."""

    NONE = 0
    TCP4 = 1
    TCP6 = 4
    ECN = 0x80
    """Beside TCP4 or TCP6: the flag CWR is to be in the first segment only."""


class Offload(NamedTuple):
    """What is left to be done to a frame; the fields are those of virtio_net_hdr.

    With `NEEDS_CHECKSUM` the 16-bit word at ``checksum_start + checksum_offset`` holds the sum of
    the pseudo header, and has to become the Internet checksum of the bytes from ``checksum_start``
    to the end. With a ``segmentation`` the frame is TCP/IP with headers of ``header_length`` bytes
    (a hint: count them) and is to be cut into segments of ``segment_size`` bytes of payload; such
    a frame needs its checksum too. Offsets count from the beginning of the frame.
    """

    flags: int = 0
    segmentation: int = Segmentation.NONE
    header_length: int = 0
    segment_size: int = 0
    checksum_start: int = 0
    checksum_offset: int = 0


PLAIN = Offload()
"""Nothing is left to be done."""


class Offloads:
    """Bits: what whoever takes frames does to them."""

    CHECKSUM = 1
    TCP4 = 2
    TCP6 = 4
    ECN = 8
    """Segmentation of TCP over IPv4, over IPv6, and of either with congestion notification; none of
    them without CHECKSUM."""
    ALL = CHECKSUM | TCP4 | TCP6 | ECN


class Frame(NamedTuple):
    """A frame in pieces, which are one after the other what is on the wire; at least
    `ETHERNET_HEADER` and at most `FRAME_LIMIT` bytes together, none of the pieces empty.

    The pieces belong to whoever hands the frame over, and only until that call returns: they may
    be the guest's own memory, which a hostile guest goes on changing. So copy what has to be kept,
    and read a field once, before it is checked.
    """

    pieces: Sequence[memoryview | bytes | bytearray]
    offload: Offload = PLAIN

    @property
    def length(self) -> int:
        """Bytes on the wire."""
        return sum(map(len, self.pieces))


class Port(Protocol):
    """The NIC as the network sees it. Call it under the machine's lock only."""

    def receive(self, frames: Sequence[Frame]) -> int:
        """Take frames from the network; how many of them, from the first one on, are done with.

        The others find no room in the guest. The network keeps or drops them, and had better leave
        further ones where they come from until `resume` is called. A NIC whose driver is not
        running takes all, into nowhere. Allowed inside the network's ``send`` and ``resume`` too.
        """

    def sendable(self) -> None:
        """The network has room again, after its ``send`` took fewer frames than it got. Not from
        inside ``send``."""

    def set_link(self, up: bool) -> None:
        """The cable has been plugged in, or out. The state before the first call is up."""
