"""Reading ELF files as far as it takes to load programs: headers, segments, sections, notes.

Source: System V Application Binary Interface, chapters 4 and 5. Symbols are read by pyelftools
(`symbols`), which takes longer to import than a machine takes to start otherwise.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from bimetal.base.bits import align_up
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["DYNAMIC", "LOAD", "NOTE", "ElfFile", "Note", "Section", "Segment", "reading_elf"]

LOAD, DYNAMIC, NOTE = 1, 2, 4
"""Types of segments."""

CLASS_AT, ORDER_AT, IDENTITY_SIZE = 4, 5, 16
ORDERS = {1: "<", 2: ">"}
HEADERS = {1: "HHIIIIIHHHHHH", 2: "HHIQQQIHHHHHH"}
SEGMENTS = {1: "IIIIIIII", 2: "IIQQQQQQ"}
SECTIONS = {1: "IIIIIIIIII", 2: "IIQQQQIIQQ"}
"""Structures by the file's class, 1 for 32 bits and 2 for 64."""
NOTE_HEADER = "III"

MANY = 0xFFFF
"""A number of segments that is too large for the header: the first section has it."""


@contextmanager
def reading_elf(name: str) -> Iterator[None]:
    """A context in which whatever goes wrong is a `BimetalError`, which says that the ELF file
    ``name`` is damaged."""
    try:
        yield
    except BimetalError:
        raise
    except Exception as error:  # who reads believes what is there, and stumbles anywhere
        raise BimetalError(
            f"{name} is a damaged ELF file: {str(error) or type(error).__name__}",
            "build or get the file anew",
            ExitCode.DATA,
        ) from error


class Segment(NamedTuple):
    """A program header."""

    type: int
    flags: int
    offset: int
    virtual: int
    physical: int
    file_size: int
    size: int


class Section(NamedTuple):
    """A section header, with its name."""

    name: str
    type: int
    flags: int
    address: int
    size: int


class Note(NamedTuple):
    """A note, and whose it is."""

    owner: str
    type: int
    content: bytes


class ElfFile:
    """The ELF file ``data``, of ``bits`` (32 or 64), ``little`` if it is little-endian: its
    ``type``, its ``machine``, its ``entry`` point and its ``segments``. Use it in `reading_elf`."""

    def __init__(self, data: bytes):
        self._data, self._class = data, data[CLASS_AT]
        self._order = ORDERS[data[ORDER_AT]]
        self.bits, self.little = 32 * self._class, self._order == "<"
        header = self._at(HEADERS[self._class], IDENTITY_SIZE)
        self.type, self.machine, _, self.entry, segments, self._sections = header[:6]
        segment_size, count, self._section_size, self._section_count, self._names = header[8:]
        if count == MANY:
            count = self._first_section()[7]
        if self._sections and not self._section_count:
            self._section_count = self._first_section()[5]
        fields = self._table(SEGMENTS[self._class], segments, segment_size, count)
        self.segments = [self._segment(each) for each in fields]

    def of_type(self, kind: int) -> list[Segment]:
        """The segments of a type."""
        return [segment for segment in self.segments if segment.type == kind]

    def sections(self) -> Iterator[Section]:
        """The sections; none if the file has no table of them."""
        if not self._sections:
            return
        form, size = SECTIONS[self._class], self._section_size
        headers = [*self._table(form, self._sections, size, self._section_count)]
        names = headers[self._names][4] if self._names < len(headers) else 0
        for name, kind, flags, address, _, size, *_ in headers:
            yield Section(self.text(names + name), kind, flags, address, size)

    def notes(self) -> Iterator[Note]:
        """What is in segments of notes."""
        for segment in self.of_type(NOTE):
            at, end = segment.offset, segment.offset + segment.file_size
            while at < end:
                owner, length, kind = self._at(NOTE_HEADER, at)
                at += struct.calcsize(NOTE_HEADER)
                start = at + align_up(owner, 4)
                name = self._data[at : at + owner].rstrip(b"\0").decode("latin-1")
                yield Note(name, kind, self._data[start : start + length])
                at = start + align_up(length, 4)

    def offset_of(self, address: int) -> int | None:
        """Where in the file is what a virtual ``address`` has; None if it is not there."""
        for segment in self.of_type(LOAD):
            if 0 <= address - segment.virtual < segment.file_size:
                return address - segment.virtual + segment.offset
        return None

    def text(self, offset: int) -> str:
        """The text at an offset of the file, up to a zero."""
        return self._data[offset : self._data.index(0, offset)].decode("utf-8", "replace")

    def _segment(self, fields: tuple[int, ...]) -> Segment:
        if self._class == 2:
            return Segment(*fields[:7])
        kind, offset, virtual, physical, file_size, size, flags, _ = fields
        return Segment(kind, flags, offset, virtual, physical, file_size, size)

    def _first_section(self) -> tuple[int, ...]:
        return self._at(SECTIONS[self._class], self._sections)

    def _table(self, form: str, at: int, size: int, count: int) -> Iterator[tuple[int, ...]]:
        if count and size < struct.calcsize(self._order + form):
            raise ValueError(f"headers of {size} bytes")
        return (self._at(form, at + number * size) for number in range(count))

    def _at(self, form: str, offset: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + form, self._data, offset)
