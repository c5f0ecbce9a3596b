"""Frames as the wire has them, made from those of which something is left to be done.

TCP is cut as by a card that does it: the headers before each piece, with the lengths, the sequence
number, the flags and the checksums that it needs (RFC 9293; IPv4's identification counts on).
"""

from __future__ import annotations

from struct import Struct, pack_into

from bimetal.backends.net.checksum import filled_in, header_checksum, words_sum
from bimetal.base.frames import (
    ETHERNET_HEADER,
    NEEDS_CHECKSUM,
    PLAIN,
    Frame,
    Offload,
    Offloads,
    Segmentation,
)

__all__ = ["plain_frames", "what_it_needs"]

VLAN_KINDS = (0x8100, 0x88A8)
IPV4, IPV6, TCP = 4, 6, 6
FIN, PSH, CWR = 0x01, 0x08, 0x80

LEAST_SEGMENT = 48
"""Bytes of payload in a segment below which nobody goes (Linux, TCP_MIN_SND_MSS): a guest that
asks for single bytes gets nothing."""

_CHECKSUM = Struct(">H")


def what_it_needs(offload: Offload) -> int:
    """The `Offloads` that whoever gets such a frame must do."""
    needed = Offloads.CHECKSUM if offload.flags & NEEDS_CHECKSUM else 0
    match offload.segmentation & ~Segmentation.ECN:
        case Segmentation.TCP4:
            needed |= Offloads.TCP4
        case Segmentation.TCP6:
            needed |= Offloads.TCP6
    if offload.segmentation & Segmentation.ECN:
        needed |= Offloads.ECN
    return needed


def plain_frames(frame: Frame) -> list[Frame]:
    """The frames that have to be sent in place of ``frame``; none if it does not say truly what it
    is. They share nothing with its pieces."""
    data = b"".join(frame.pieces)
    if frame.offload.segmentation != Segmentation.NONE:
        return _segments(data, frame.offload)
    if frame.offload.flags & NEEDS_CHECKSUM:
        return _with_checksum(data, frame.offload)
    return [Frame([data], PLAIN)]


def _with_checksum(data: bytes, offload: Offload) -> list[Frame]:
    start = offload.checksum_start
    place = start + offload.checksum_offset
    if start < ETHERNET_HEADER or place + 2 > len(data):
        return []
    whole = bytearray(data)
    _CHECKSUM.pack_into(whole, place, filled_in(words_sum(memoryview(data)[start:])))
    return [Frame([whole], PLAIN)]


def _segments(data: bytes, offload: Offload) -> list[Frame]:
    ip, tcp, end = _places(data, offload)
    size, payload = offload.segment_size, memoryview(data)[end:]
    if not end or size < LEAST_SEGMENT:
        return []
    version = data[ip] >> 4
    addresses = data[ip + 12 : ip + 20] if version == IPV4 else data[ip + 8 : ip + 40]
    pseudo = words_sum(addresses) + TCP + end - tcp
    identification = int.from_bytes(data[ip + 4 : ip + 6], "big")
    sequence = int.from_bytes(data[tcp + 4 : tcp + 8], "big")
    flags = data[tcp + 13]
    head = bytearray(data[:end])
    head[tcp + 16 : tcp + 18] = b"\0\0"
    frames = []
    for number, at in enumerate(range(0, len(payload) or 1, size)):
        piece = payload[at : at + size]
        header = bytearray(head)
        if version == IPV4:
            pack_into(
                ">HH", header, ip + 2, end - ip + len(piece), identification + number & 0xFFFF
            )
            header[ip + 10 : ip + 12] = b"\0\0"
            pack_into(">H", header, ip + 10, header_checksum(header[ip:tcp]))
        else:
            pack_into(">H", header, ip + 4, end - ip - 40 + len(piece))
        is_last = at + size >= len(payload)
        kept = flags & ~(0 if is_last else FIN | PSH) & ~(CWR if number else 0)
        pack_into(">I", header, tcp + 4, sequence + at & 0xFFFF_FFFF)
        header[tcp + 13] = kept
        total = pseudo + len(piece) + words_sum(header[tcp:]) + words_sum(piece)
        _CHECKSUM.pack_into(header, tcp + 16, filled_in(total))
        frames.append(Frame([header, piece] if piece else [header], PLAIN))
    return frames


def _places(data: bytes, offload: Offload) -> tuple[int, int, int]:
    """Where the headers of IP and TCP begin, and where the latter ends; zeroes if that is not what
    the frame holds."""
    ip = ETHERNET_HEADER
    while int.from_bytes(data[ip - 2 : ip], "big") in VLAN_KINDS and ip < ETHERNET_HEADER + 8:
        ip += 4
    tcp = offload.checksum_start
    if len(data) < tcp + 20 or tcp < ip + 20:
        return 0, 0, 0
    end = tcp + 4 * (data[tcp + 12] >> 4)
    version, wanted = data[ip] >> 4, offload.segmentation & ~Segmentation.ECN
    if version == IPV4 and wanted == Segmentation.TCP4:
        right = tcp == ip + 4 * (data[ip] & 15) and data[ip + 9] == TCP
    else:
        right = version == IPV6 and wanted == Segmentation.TCP6 and tcp >= ip + 40
    if not right or not tcp + 20 <= end <= len(data):
        return 0, 0, 0
    return ip, tcp, end
