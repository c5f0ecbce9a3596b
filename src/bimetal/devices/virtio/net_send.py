"""Frames of a NIC's driver, as the network takes them (virtio 1.2, 5.1.6.2)."""

from __future__ import annotations

from bimetal.base.buffers import split, total
from bimetal.base.frames import (
    ETHERNET_HEADER,
    FRAME_LIMIT,
    NEEDS_CHECKSUM,
    OFFLOAD_HEADER,
    Frame,
    Offload,
)
from bimetal.base.log import EventLog
from bimetal.devices.virtio.net_features import may_leave
from bimetal.devices.virtio.queue import Chain

__all__ = ["frame_of"]


def frame_of(chain: Chain, header_size: int, taken: int, events: EventLog) -> Frame | None:
    """The frame that the driver sends by ``chain``, behind a header of so many bytes, to a network
    that has ``taken`` these offloads on itself; None, and one of the ``events``, if it is none."""
    pieces = chain.readable
    if pieces and len(pieces[0]) >= header_size:
        header: bytes | memoryview = pieces[0]
        rest = pieces[0][header_size:]
        pieces = [rest, *pieces[1:]] if len(rest) else pieces[1:]
    else:
        parts, pieces = split(pieces, header_size)
        header = b"".join(parts)
    length = total(pieces)
    if not ETHERNET_HEADER <= length <= FRAME_LIMIT or len(header) < header_size:
        events.guest_error("a frame to send has a wrong length", f"{length} bytes")
        return None
    fields = OFFLOAD_HEADER.unpack_from(header)
    if not fields[0] & NEEDS_CHECKSUM and not fields[1]:
        return Frame(pieces)
    offload = Offload(fields[0] & NEEDS_CHECKSUM, *fields[1:])
    if not may_leave(offload, length, taken):
        events.guest_error("a frame asks for an offload that it cannot have", f"{offload}")
        return None
    return Frame(pieces, offload)
