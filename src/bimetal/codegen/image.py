"""The image of a region: machine code that runs wherever it is put, as it is stored.

It begins with a table for the addresses of the stubs that the region jumps to, followed by a digest
of the rest. The region's first instruction comes behind that.
"""

from __future__ import annotations

import hashlib

__all__ = ["HEAD", "code_in", "image"]

TABLE = 48
"""Bytes of the table: for up to six stubs."""

DIGEST = 16

HEAD = TABLE + DIGEST
"""Bytes before the first instruction."""


def _digest(code: bytes) -> bytes:
    return hashlib.blake2b(code, digest_size=DIGEST).digest()


def image(code: bytes) -> bytes:
    """The image of a region's machine code and constants, which hold no absolute address."""
    return bytes(TABLE) + _digest(code) + code


def code_in(content: bytes) -> bytes:
    """Machine code and constants in an image. Raises ValueError if it is damaged, or none at all:
    what is executed has to be what was compiled."""
    code = content[HEAD:]
    if not code or content[TABLE:HEAD] != _digest(code):
        raise ValueError("the image of a region is damaged")
    return code
