"""Packets of the socket device (virtio 1.2, 5.10.6)."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

__all__ = ["HEADER", "HOST_CID", "RECEIVE_END", "SEND_END", "STREAM", "Op", "Packet"]

HEADER = Struct("<QQIIIHHIII")

HOST_CID = 2
"""The context that guests know their host by."""

STREAM = 1
"""The type of sockets that are offered; sequenced packets are not."""

RECEIVE_END, SEND_END = 1, 2
"""Flags of `Op.SHUTDOWN`: the sender will receive no more, or send no more."""


class Op(IntEnum):
    """What a packet means (5.10.6.1)."""

    REQUEST = 1
    RESPONSE = 2
    RST = 3
    SHUTDOWN = 4
    RW = 5
    CREDIT_UPDATE = 6
    CREDIT_REQUEST = 7


class Packet(NamedTuple):
    """The header of a packet, in the order of its fields."""

    src_cid: int
    dst_cid: int
    src_port: int
    dst_port: int
    length: int
    type: int
    op: int
    flags: int
    buf_alloc: int
    fwd_cnt: int

    def pack(self) -> bytes:
        """The 44 bytes of the header."""
        return HEADER.pack(*self)
