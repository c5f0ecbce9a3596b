"""Where messages end in a stream of JSON texts that need not stand on lines of their own.

A message is an object or an array; between messages is white space. What begins like anything else,
or nests too deeply, is reported once, and skipped to the end of its line.
"""

from __future__ import annotations

import re

from msgspec import Struct

__all__ = ["DEPTH_LIMIT", "MESSAGE_LIMIT", "Framer", "Malformed"]

MESSAGE_LIMIT = 1 << 20
"""Bytes of a message, which is held until its end has come."""

DEPTH_LIMIT = 64
"""How deeply objects and arrays may nest."""

_SOMETHING = re.compile(rb"\S")
_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'["\\]')


class Malformed(Struct, frozen=True):
    """No message, for that reason; after a ``fatal`` one nothing can be understood any more."""

    why: str
    fatal: bool = False


class Framer:
    """Takes what arrives, by `add`, and gives messages, by `next`."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = self._depth = 0
        self._quoted = self._skipping = False

    def add(self, data: bytes) -> None:
        """More has arrived."""
        self._buffer += data

    def next(self) -> bytes | Malformed | None:
        """The next message, or what came in place of one; None if it has not come yet."""
        if self._skipping and not self._skip():
            return None
        if self._depth == 0:
            start = _SOMETHING.search(self._buffer)
            if start is None:
                self._buffer.clear()
                return None
            if self._buffer[start.start()] not in b"{[":
                self._skipping = True
                return Malformed("a message is a JSON object")
            del self._buffer[: start.start()]
            self._depth = self._at = 1
        if self._find_end():
            message = bytes(self._buffer[: self._at])
            del self._buffer[: self._at]
            return message
        if self._depth > DEPTH_LIMIT:
            self._depth, self._quoted, self._skipping = 0, False, True
            return Malformed(f"a message nests deeper than {DEPTH_LIMIT}")
        if len(self._buffer) > MESSAGE_LIMIT:
            self._buffer.clear()
            return Malformed(f"a message is longer than {MESSAGE_LIMIT} bytes", fatal=True)
        return None

    def _find_end(self) -> bool:
        """Whether the end of the message is there, before which `_at` is then."""
        while 0 < self._depth <= DEPTH_LIMIT:
            found = (_INSIDE if self._quoted else _OUTSIDE).search(self._buffer, self._at)
            if found is None:
                self._at = len(self._buffer)
                return False
            match found[0]:
                case b"\\":
                    if found.end() == len(self._buffer):
                        self._at = found.start()  # what it escapes comes later
                        return False
                    self._at = found.end() + 1
                    continue
                case b'"':
                    self._quoted = not self._quoted
                case b"{" | b"[":
                    self._depth += 1
                case _:
                    self._depth -= 1
            self._at = found.end()
        return self._depth == 0

    def _skip(self) -> bool:
        """Forget the rest of the line; whether its end has come."""
        end = self._buffer.find(b"\n")
        if end < 0:
            self._buffer.clear()
            return False
        del self._buffer[: end + 1]
        self._skipping = False
        return True
