"""How a client is let in: version, security, what is on offer (RFC 6143, section 7.1 to 7.3).

The conversations here and in `session` are generators: they yield how many bytes they want to read
next, and get exactly these. So a client decides neither how much is kept of what it sends, nor when
anything happens.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Generator
from struct import Struct
from typing import TypeVar

import msgspec

from bimetal.backends.vnc.numbers import Security, VeNCrypt
from bimetal.backends.vnc.password import CHALLENGE_SIZE, Password

__all__ = ["Access", "Goodbye", "Hello", "let_in"]

VERSION = b"RFB 003.008\n"
VERSION_SIZE = 12
_VERSION = re.compile(rb"RFB 003\.(\d{3})\n")
OLDEST_WITH_CHOICE, OLDEST_WITH_REASONS = 7, 8
"""Minor versions: from which on clients choose how they are let in, and are told why they were not,
and that they were."""

_LONG = Struct(">I")

Answer = TypeVar("Answer")
Hello = Generator[int, bytes, Answer]
"""A conversation: yields how many bytes it wants, at least 1, and is sent them."""


class Goodbye(Exception):
    """The conversation is over, for this reason; what was said last is still sent."""


class Access(msgspec.Struct, frozen=True):
    """Who is let in: whoever knows the ``password``, by ``tls`` only if that is given; anybody
    without either."""

    password: Password | None = None
    tls: ssl.SSLContext | None = None


def let_in(
    access: Access, say: Callable[[bytes], None], start_tls: Callable[[], None]
) -> Hello[None]:
    """Let a client in, up to its ClientInit. Raises `Goodbye`."""
    say(VERSION)
    match = _VERSION.fullmatch((yield VERSION_SIZE))
    if match is None:
        raise Goodbye("it speaks another protocol")
    version = int(match[1])
    kind = Security.NONE if access.password is None else Security.VNC
    if access.tls is not None:
        kind = Security.VENCRYPT
    if version < OLDEST_WITH_CHOICE:
        yield from _old(kind, say)
    else:
        say(bytes((1, kind)))
        if (yield 1) != bytes((kind,)):
            raise Goodbye("it chose a way in that there is not")
    if kind == Security.VENCRYPT:
        yield from _vencrypt(access, say, start_tls)
    if access.password is not None:
        yield from _ask_password(access.password, version, say)
    elif version >= OLDEST_WITH_REASONS:
        say(_LONG.pack(0))
    yield 1  # whether it would share the screen: it does
    return None


def _old(kind: int, say: Callable[[bytes], None]) -> Hello[None]:
    """A client that is told how it is let in."""
    if kind == Security.VENCRYPT:
        say(_LONG.pack(0) + _text(b"this server wants TLS"))
        raise Goodbye("it is too old for TLS")
    say(_LONG.pack(kind))
    yield from ()


def _vencrypt(
    access: Access, say: Callable[[bytes], None], start_tls: Callable[[], None]
) -> Hello[None]:
    say(VeNCrypt.VERSION)
    if (yield 2) != VeNCrypt.VERSION:
        say(b"\xff")
        raise Goodbye("it speaks another version of VeNCrypt")
    kind = VeNCrypt.X509_NONE if access.password is None else VeNCrypt.X509_VNC
    say(b"\0\1" + _LONG.pack(kind))
    if (yield 4) != _LONG.pack(kind):
        say(b"\0")
        raise Goodbye("it chose a way in that there is not")
    say(b"\1")
    start_tls()


def _ask_password(password: Password, version: int, say: Callable[[bytes], None]) -> Hello[None]:
    challenge = os.urandom(CHALLENGE_SIZE)
    say(challenge)
    if password.fits(challenge, (yield CHALLENGE_SIZE)):
        say(_LONG.pack(0))
        return
    reason = _text(b"wrong password") if version >= OLDEST_WITH_REASONS else b""
    say(_LONG.pack(1) + reason)
    raise Goodbye("wrong password")


def _text(text: bytes) -> bytes:
    return _LONG.pack(len(text)) + text
