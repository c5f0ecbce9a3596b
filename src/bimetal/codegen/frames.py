"""Messages between our processes: JSON and raw bytes, so that no message can run code.

A frame is a magic number, the lengths of both parts, a digest of them, and the parts. The receiver
gets what was sent, or `BadFrame`.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

__all__ = ["BadFrame", "Frame", "FrameReader", "pack", "read_frame"]

_HEAD = struct.Struct("<4sII16s")
_MARK = b"bmF1"
LONGEST_FIELDS, LONGEST_CONTENT = 1 << 20, 64 << 20


class BadFrame(ValueError):
    """Bytes that are not a valid message."""


class Frame(NamedTuple):
    """A message: fields that JSON can represent, and raw bytes."""

    fields: Mapping[str, Any]
    content: bytes


def _digest(fields: bytes, content: bytes) -> bytes:
    digest = hashlib.blake2b(fields, digest_size=16)
    digest.update(content)
    return digest.digest()


def pack(frame: Frame) -> bytes:
    """A message as bytes."""
    fields, content = json.dumps(frame.fields).encode(), frame.content
    head = _HEAD.pack(_MARK, len(fields), len(content), _digest(fields, content))
    return b"".join((head, fields, content))


class FrameReader:
    """Assembles messages from bytes that arrive in pieces."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """Add bytes that have arrived."""
        self._data += data

    @property
    def missing(self) -> int:
        """How many more bytes `take` needs to make progress."""
        head = self._head()
        wanted = _HEAD.size if head is None else _HEAD.size + head[0] + head[1]
        return max(0, wanted - len(self._data))

    def take(self) -> Frame | None:
        """The next message, or None until all of it is there. Raises `BadFrame`."""
        head = self._head()
        if head is None or self.missing:
            return None
        length, size, digest = head
        middle, end = _HEAD.size + length, _HEAD.size + length + size
        fields, content = bytes(self._data[_HEAD.size : middle]), bytes(self._data[middle:end])
        del self._data[:end]
        if _digest(fields, content) != digest:
            raise BadFrame("a message was garbled on its way")
        try:
            said = json.loads(fields)
        except (ValueError, RecursionError) as error:
            raise BadFrame(f"a message says nothing: {error}") from error
        if not isinstance(said, dict):
            raise BadFrame("a message has no fields")
        return Frame(said, content)

    def _head(self) -> tuple[int, int, bytes] | None:
        """The lengths of both parts and their digest; None until they have arrived."""
        if len(self._data) < _HEAD.size:
            return None
        mark, length, size, digest = _HEAD.unpack_from(self._data)
        if mark != _MARK or length > LONGEST_FIELDS or size > LONGEST_CONTENT:
            raise BadFrame(f"no message begins with {bytes(self._data[: _HEAD.size]).hex()}")
        return length, size, digest


def read_frame(file: IO[bytes]) -> Frame | None:
    """Wait for the next message of a file or pipe; None at its end. Raises `BadFrame`."""
    reader = FrameReader()
    while data := file.read(reader.missing):
        reader.feed(data)
        if frame := reader.take():
            return frame
    return None
