"""ICMP and ICMPv6 as far as both are the same: echoes, and messages that something failed.

(RFC 792, RFC 1122, RFC 4443.)
"""

from __future__ import annotations

from errno import EACCES, EHOSTUNREACH, ENETUNREACH, EPERM
from struct import Struct

from bimetal.backends.net.user.internet import ICMP6, Packet, checksum, pseudo_header

__all__ = [
    "ECHO",
    "ECHO6",
    "PORT_UNREACHABLE",
    "PROHIBITED",
    "Failure",
    "echo_reply",
    "failure",
    "failure_of",
    "with_checksum",
]

ECHO, ECHO_REPLY, UNREACHABLE = 8, 0, 3
ECHO6, ECHO_REPLY6, UNREACHABLE6 = 128, 129, 1
"""Types of messages."""

QUOTED = 8
"""Bytes of a payload that are quoted, besides its header: they have the ports of TCP and UDP."""

Failure = tuple[int, int]
"""The code of Destination Unreachable in ICMP and that in ICMPv6."""

NET_UNREACHABLE: Failure = (0, 0)
HOST_UNREACHABLE: Failure = (1, 3)
PORT_UNREACHABLE: Failure = (3, 4)
PROHIBITED: Failure = (13, 1)

_BY_ERRNO = {
    ENETUNREACH: NET_UNREACHABLE,
    EHOSTUNREACH: HOST_UNREACHABLE,
    EACCES: PROHIBITED,
    EPERM: PROHIBITED,
}

_ECHO = Struct(">BBHHH")


def failure_of(error: int) -> Failure:
    """Why something could not be reached, by the errno of the host's socket."""
    return _BY_ERRNO.get(error, HOST_UNREACHABLE)


def failure(header: bytes, payload: bytes, code: Failure) -> bytes:
    """The message, with 0 for its checksum, that a packet could not be delivered."""
    if len(header) == 40:
        return bytes((UNREACHABLE6, code[1])) + bytes(6) + header + payload[:QUOTED]
    return bytes((UNREACHABLE, code[0])) + bytes(6) + header + payload[:QUOTED]


def with_checksum(source: bytes, destination: bytes, body: bytes) -> bytes:
    """``body`` with the checksum that it needs between these two addresses."""
    pseudo = b""
    if len(source) == 16:
        pseudo = pseudo_header(source, destination, ICMP6, len(body))
    return body[:2] + checksum(pseudo + body).to_bytes(2) + body[4:]


def echo_reply(packet: Packet) -> bytes:
    """The answer to an echo request, with 0 for its checksum."""
    kind = ECHO_REPLY6 if packet.protocol == ICMP6 else ECHO_REPLY
    return bytes((kind, 0, 0, 0)) + packet.payload[4:]
