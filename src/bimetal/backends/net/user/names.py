"""Names that the network knows by itself, and DNS messages as far as they are about these.

(RFC 1035, sections 3 and 4.) All other messages pass through as they are, so that no kind of
record or extension has to be known here.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from struct import Struct
from typing import NamedTuple

from bimetal.backends.net.user.settings import Settings

__all__ = ["REFUSED", "SERVER_FAILURE", "Names", "Question", "encode_name", "failure", "question"]

A, AAAA, ANY, INTERNET = 1, 28, 255, 1
"""Types and the class of records."""

RESPONSE, AUTHORITATIVE, RECURSION_DESIRED, RECURSION_AVAILABLE = 0x8000, 0x0400, 0x0100, 0x0080
OPCODE = 0x7800

SERVER_FAILURE, REFUSED = 2, 5
"""Response codes."""

TTL = 60

HOSTS_LIMIT = 1 << 20
"""Bytes of the host's file of names that are read."""

_HEADER = Struct(">HHHHHH")
_POINTER_TO_QUESTION = (0xC000 | _HEADER.size).to_bytes(2)


class Question(NamedTuple):
    """What a query asks, and the bytes that say so in it."""

    identification: int
    flags: int
    name: str
    kind: int
    text: bytes


def encode_name(name: str) -> bytes:
    """``name`` as labels, none of which is longer than 63 bytes."""
    labels = name.strip(".").encode().split(b".")
    return b"".join(bytes([len(label)]) + label for label in labels if label) + b"\0"


def question(message: bytes) -> Question | None:
    """The one question of an ordinary query in the class of the Internet; None for all else."""
    if len(message) < _HEADER.size:
        return None
    identification, flags, questions, *_ = _HEADER.unpack_from(message)
    if flags & (RESPONSE | OPCODE) or questions != 1:
        return None
    labels, position = [], _HEADER.size
    while position < len(message) and message[position]:
        length = message[position]
        if length > 63:
            return None  # a pointer: there is nothing yet to point to
        labels.append(message[position + 1 : position + 1 + length])
        position += 1 + length
    end = position + 5
    if end > len(message) or end > _HEADER.size + 255 + 4:
        return None
    kind, group = (int.from_bytes(message[at : at + 2]) for at in (position + 1, position + 3))
    if group != INTERNET:
        return None
    name = b".".join(labels).decode("latin-1").lower()
    return Question(identification, flags, name, kind, message[_HEADER.size : end])


def failure(message: bytes, code: int) -> bytes:
    """A response to a query that says nothing but that it failed."""
    asked = question(message)
    identification, flags = (int.from_bytes(message[at : at + 2]) for at in (0, 2))
    text = asked.text if asked else b""
    word = RESPONSE | RECURSION_AVAILABLE | code | flags & (OPCODE | RECURSION_DESIRED)
    return _HEADER.pack(identification, word, int(asked is not None), 0, 0, 0) + text


class Names:
    """The names of the gateway, of the guest, and those in the host's own file.

    ``_gateway`` and the host's name are the gateway, where the host's own servers answer; so is
    every name in the file that means the host itself. ``read`` returns the file.
    """

    def __init__(self, settings: Settings, read: Callable[[], str]):
        self._settings, self._read = settings, read
        gateway: list[bytes] = [settings.gateway.packed]
        if settings.ipv6:
            gateway.append(settings.gateway6.packed)
        self._gateway = gateway
        self._own: dict[str, list[bytes]] = {"_gateway": gateway}
        self._own[socket.gethostname().lower()] = gateway
        if settings.hostname:
            self._own[settings.hostname.lower()] = [settings.guest.packed]
        if settings.domain:
            domain = settings.domain.lower()
            self._own |= {f"{name}.{domain}": to for name, to in list(self._own.items())}

    def answer(self, message: bytes) -> bytes | None:
        """The response to a query for a name that is known here, else None."""
        asked = question(message)
        if asked is None or asked.kind not in (A, AAAA, ANY):
            return None
        addresses = self._own.get(asked.name) or list(self._from_file(asked.name))
        if not addresses:
            return None
        length = {A: (4,), AAAA: (16,), ANY: (4, 16)}[asked.kind]
        records = [
            _POINTER_TO_QUESTION
            + (A if len(each) == 4 else AAAA).to_bytes(2)
            + INTERNET.to_bytes(2)
            + TTL.to_bytes(4)
            + len(each).to_bytes(2)
            + each
            for each in addresses
            if len(each) in length
        ]
        word = RESPONSE | AUTHORITATIVE | RECURSION_AVAILABLE | asked.flags & RECURSION_DESIRED
        header = _HEADER.pack(asked.identification, word, 1, len(records), 0, 0)
        return header + asked.text + b"".join(records)

    def _from_file(self, name: str) -> Iterator[bytes]:
        """The addresses of ``name`` in the host's file, as the guest has to use them."""
        seen = set()
        for line in self._read()[:HOSTS_LIMIT].lower().splitlines():
            address, *names = line.partition("#")[0].split() or [""]
            if name not in names or name == "localhost":
                continue
            try:
                found = ip_address(address)
            except ValueError:
                continue
            for each in self._gateway if found.is_loopback else [found.packed]:
                if each not in seen:
                    seen.add(each)
                    yield each
