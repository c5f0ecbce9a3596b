"""Messages of 9P2000.L: how numbers, texts and qids lie in them.

Source: the manual pages of section 5 of Plan 9, and ``include/net/9p/9p.h`` of Linux for the
dialect. Everything is little-endian; a text is a length of two bytes and that many bytes.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

__all__ = ["HEADER", "Fields", "Kind", "Malformed", "Qid", "packed", "text"]

HEADER = Struct("<IBH")
"""Size of the whole message, kind, tag."""

_QID = Struct("<BIQ")
_U8, _U16, _U32, _U64 = Struct("<B"), Struct("<H"), Struct("<I"), Struct("<Q")


class Malformed(Exception):
    """A message that is not what its kind or its size says."""


class Kind(IntEnum):
    """Kinds of requests; the answer's is one greater."""

    ERROR = 6
    STATFS = 8
    LOPEN = 12
    LCREATE = 14
    SYMLINK = 16
    MKNOD = 18
    RENAME = 20
    READLINK = 22
    GETATTR = 24
    SETATTR = 26
    XATTRWALK = 30
    XATTRCREATE = 32
    READDIR = 40
    FSYNC = 50
    LOCK = 52
    GETLOCK = 54
    LINK = 70
    MKDIR = 72
    RENAMEAT = 74
    UNLINKAT = 76
    VERSION = 100
    AUTH = 102
    ATTACH = 104
    FLUSH = 108
    WALK = 110
    READ = 116
    WRITE = 118
    CLUNK = 120
    REMOVE = 122


class Qid(NamedTuple):
    """What the server knows a file by: its type (0x80 folder, 2 link), a version that changes with
    the file, and a number that no other file has."""

    type: int
    version: int
    path: int

    def pack(self) -> bytes:
        """The 13 bytes of a message."""
        return _QID.pack(*self)


class Fields:
    """The fields of a message, read one after the other. Raises `Malformed` at its end."""

    def __init__(self, data: bytes | memoryview):
        self._data, self._at = data, 0

    def _take(self, form: Struct) -> int:
        at = self._at
        self._at += form.size
        if self._at > len(self._data):
            raise Malformed("a message ends inside a field")
        value: int = form.unpack_from(self._data, at)[0]
        return value

    def u8(self) -> int:
        return self._take(_U8)

    def u16(self) -> int:
        return self._take(_U16)

    def u32(self) -> int:
        return self._take(_U32)

    def u64(self) -> int:
        return self._take(_U64)

    def data(self, count: int) -> memoryview:
        """The next ``count`` bytes, uncopied."""
        at = self._at
        self._at += count
        if self._at > len(self._data):
            raise Malformed("a message ends inside its data")
        return memoryview(self._data)[at : self._at]

    def text(self) -> bytes:
        """A text, which need not be UTF-8: names of files are not."""
        return bytes(self.data(self.u16()))


def text(data: bytes) -> bytes:
    """A text as it lies in a message."""
    return _U16.pack(len(data)) + data


def packed(form: str, *values: int) -> bytes:
    """Numbers as they lie in a message; ``form`` is that of `struct` without the byte order."""
    return Struct("<" + form).pack(*values)
