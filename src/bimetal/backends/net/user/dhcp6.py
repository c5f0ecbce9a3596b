"""Stateless DHCPv6 (RFC 8415, section 18.3.6): names and servers, but no addresses."""

from __future__ import annotations

from collections.abc import Iterator

from bimetal.backends.net.user.names import encode_name
from bimetal.backends.net.user.settings import Settings

__all__ = ["CLIENT_PORT", "GROUP", "SERVER_PORT", "answer"]

CLIENT_PORT, SERVER_PORT = 546, 547

GROUP = b"\xff\x02" + bytes(11) + b"\x01\x00\x02"
"""All relay agents and servers on the link."""

REPLY, INFORMATION_REQUEST = 7, 11
CLIENT_ID, SERVER_ID, DNS_SERVERS, DOMAINS = 1, 2, 23, 24

DUID_LINK_LAYER, ETHERNET = 3, 1


def answer(message: bytes, settings: Settings, mac: bytes) -> bytes | None:
    """The reply to an Information-request; None for anything else."""
    if len(message) < 4 or message[0] != INFORMATION_REQUEST:
        return None
    asked = dict(_options(message[4:]))
    server = DUID_LINK_LAYER.to_bytes(2) + ETHERNET.to_bytes(2) + mac
    if asked.get(SERVER_ID, server) != server:
        return None
    reply = bytes([REPLY]) + message[1:4] + _option(SERVER_ID, server)
    if CLIENT_ID in asked:
        reply += _option(CLIENT_ID, asked[CLIENT_ID])
    if not settings.restricted:
        reply += _option(DNS_SERVERS, settings.dns6.packed)
    if settings.search:
        reply += _option(DOMAINS, b"".join(map(encode_name, settings.search)))
    return reply


def _option(code: int, value: bytes) -> bytes:
    return code.to_bytes(2) + len(value).to_bytes(2) + value


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The options of a message, as far as they are whole."""
    position = 0
    while position + 4 <= len(data):
        code, length = (int.from_bytes(data[at : at + 2]) for at in (position, position + 2))
        end = position + 4 + length
        if end > len(data):
            return
        yield code, data[position + 4 : end]
        position = end
