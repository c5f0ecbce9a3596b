"""ARP (RFC 826): Ethernet addresses of IPv4 ones."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from bimetal.backends.net.user.internet import TYPE_ARP, TYPE_IP4
from bimetal.base.frames import ETHERNET_HEADER

__all__ = ["BROADCAST", "Arp", "answer", "ask", "parse"]

BROADCAST = b"\xff" * 6

ETHERNET, REQUEST, REPLY = 1, 1, 2

_ARP = Struct(">HHBBH6s4s6s4s")


class Arp(NamedTuple):
    """What a message says: whether it asks, who sends it, and about whom."""

    asks: bool
    mac: bytes
    address: bytes
    target: bytes


def parse(frame: bytes) -> Arp | None:
    """The message in ``frame``, or None if it is not about IPv4 on Ethernet."""
    if len(frame) < ETHERNET_HEADER + _ARP.size:
        return None
    *kind, operation, mac, address, _, target = _ARP.unpack_from(frame, ETHERNET_HEADER)
    if kind != [ETHERNET, TYPE_IP4, 6, 4] or operation not in (REQUEST, REPLY) or mac[0] & 1:
        return None
    return Arp(operation == REQUEST, mac, address, target)


def answer(asked: Arp, mac: bytes) -> bytes:
    """The frame that tells who asked that ``asked.target`` is at ``mac``."""
    return _frame(asked.mac, REPLY, mac, asked.target, asked.mac, asked.address)


def ask(mac: bytes, address: bytes, target: bytes) -> bytes:
    """The frame with which ``address`` at ``mac`` asks everybody where ``target`` is."""
    return _frame(BROADCAST, REQUEST, mac, address, bytes(6), target)


def _frame(
    to: bytes, operation: int, mac: bytes, address: bytes, target_mac: bytes, target: bytes
) -> bytes:
    body = _ARP.pack(ETHERNET, TYPE_IP4, 6, 4, operation, mac, address, target_mac, target)
    return to + mac + TYPE_ARP.to_bytes(2) + body
