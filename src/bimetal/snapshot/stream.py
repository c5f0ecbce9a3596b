"""A machine on its way from one process to another, as a row of records.

head      4 bytes kind, CRC-32 and length of the content, CRC-32 of all that
content

MOVE      the version, whether the way goes both ways, the machine's recipe, its areas of memory
PAGE      number of an area, offset, content; later ones count
ZERO      number of an area, offset, length: nothing but zeroes
KEEP      an area of a device: its name, its size, and pages with their numbers
STAT      the rest of the state, and what the disks were
HAVE      from the other side: everything is there
YOUR      the disks are let go: the machine is the other side's now
RUNS      from the other side: it has the machine
FAIL      from the other side: why it cannot have it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from struct import error as StructError
from typing import Any, Protocol

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.snapshot.checksum import crc32
from bimetal.snapshot.layout import PAGE
from bimetal.snapshot.plain import from_json, to_json

__all__ = ["CONTENT", "FAIL", "HAVE", "KEEP", "KEPT", "MOVE", "PLACE", "RUNS", "STAT", "VERSION"]
__all__ += [
    "YOUR",
    "ZERO",
    "ZEROES",
    "Refused",
    "Stream",
    "as_numbers",
    "broken",
    "read_area",
    "read_values",
]

VERSION = 1
MOVE, CONTENT, ZERO, KEEP = b"MOVE", b"PAGE", b"ZERO", b"KEEP"
STAT, HAVE, YOUR, RUNS, FAIL = b"STAT", b"HAVE", b"YOUR", b"RUNS", b"FAIL"

LIMITS = {MOVE: 1 << 20, CONTENT: (1 << 20) + 32, ZERO: 32, KEEP: (2 << 20), STAT: 64 << 20}
"""Bytes of the content of a record that are read."""

SHORT = 1 << 16
"""Bytes of all other records."""

PLACE, ZEROES = Struct("<IQ"), Struct("<IQQ")
"""What PAGE begins with, and what ZERO is."""
KEPT = Struct("<QHI")
"""What KEEP begins with: the size, the length of the name, and how many pages there are."""

_HEAD = Struct("<4sIQ")
_SUM = Struct("<I")


class Refused(BimetalError):
    """The other side has said that it does not have the machine, and why."""


class Way(Protocol):
    """What carries the bytes. Methods raise OSError."""

    def write(self, data: bytes | memoryview) -> None:
        """Send all of it."""

    def read(self, count: int) -> bytes:
        """So many bytes."""


class Stream:
    """Records that come and go by ``way``. ``moved`` counts the bytes. Methods raise OSError, and
    `BimetalError` for what is no such row of records."""

    def __init__(self, way: Way):
        self._way = way
        self.moved = 0

    def send(self, kind: bytes, *content: bytes | memoryview) -> None:
        """Send a record, whose content is in parts."""
        checksum = 0
        for part in content:
            checksum = crc32(part, checksum)
        head = _HEAD.pack(kind, checksum, sum(map(len, content)))
        self._write(head + _SUM.pack(crc32(head)))
        for part in content:
            self._write(part)

    def tell(self, kind: bytes, values: Mapping[str, Any]) -> None:
        """Send a record of plain values."""
        self.send(kind, to_json(dict(values)))

    def next(self) -> tuple[bytes, bytes]:
        """The kind and the content of the next record."""
        head = self._read(_HEAD.size + _SUM.size)
        (checksum,) = _SUM.unpack_from(head, _HEAD.size)
        kind, own, length = _HEAD.unpack_from(head)
        if crc32(head[: _HEAD.size]) != checksum or length > LIMITS.get(kind, SHORT):
            raise broken("what comes is no machine, or was damaged on the way")
        content = self._read(length)
        if crc32(content) != own:
            raise broken("a part of it was damaged on the way")
        return kind, content

    def expect(self, kind: bytes) -> bytes:
        """The content of the next record, which has to be of that kind. What the other side says
        of its failure is raised as `Refused`."""
        found, content = self.next()
        if found == FAIL:
            raise Refused(
                f"the other side: {content.decode(errors='replace')[:1000]}",
                "",
                ExitCode.UNAVAILABLE,
            )
        if found != kind:
            raise broken(f"{found!r} comes where {kind!r} should")
        return content

    def values(self, kind: bytes) -> dict[str, Any]:
        """The plain values in the next record."""
        return read_values(self.expect(kind))

    def _write(self, data: bytes | memoryview) -> None:
        self._way.write(data)
        self.moved += len(data)

    def _read(self, count: int) -> bytes:
        data = self._way.read(count)
        self.moved += count
        return data


def read_values(content: bytes) -> dict[str, Any]:
    """The plain values that a record has. Raises `BimetalError`."""
    try:
        values = from_json(content)
    except ValueError as error:
        raise broken(f"a part of it makes no sense: {error}") from error
    if not isinstance(values, dict):
        raise broken("a part of it makes no sense")
    return values


def as_numbers(numbers: Sequence[int]) -> bytes:
    """The numbers of pages, as KEEP has them."""
    return Struct(f"<{len(numbers)}Q").pack(*numbers)


def read_area(content: bytes) -> tuple[str, int, dict[int, bytes]]:
    """The name and the size of the area in a KEEP, and pages of it. Raises `BimetalError`."""
    try:
        size, length, count = KEPT.unpack_from(content)
        name = content[KEPT.size : KEPT.size + length].decode()
        at = KEPT.size + length
        numbers = Struct(f"<{count}Q").unpack_from(content, at)
        at += 8 * count
        if len(content) != at + count * PAGE or any(n * PAGE >= size for n in numbers):
            raise broken("an area is not what it says it is")
    except (StructError, UnicodeDecodeError, MemoryError) as error:
        raise broken(f"an area makes no sense: {error}") from error
    pages = (content[at + n * PAGE : at + (n + 1) * PAGE] for n in range(count))
    return name, size, dict(zip(numbers, pages, strict=True))


def broken(what: str) -> BimetalError:
    """The error for a row of records that is none."""
    return BimetalError(f"the machine does not arrive: {what}", "send it once more", ExitCode.DATA)
