"""Images that are served: what clients are told of them, and agree on."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping

from msgspec import Struct, field

from bimetal.backends.block.bitmaps import Marks
from bimetal.backends.block.block import Block
from bimetal.backends.block.nbd.protocol import BITMAP_CONTEXT, CONTEXT, TransmissionFlag

__all__ = ["Exported", "Exports", "Talk", "Terms", "Wire"]

Talk = Generator[int, bytes, None]
"""One side of a conversation: it yields how many bytes it wants next, and is sent them; 0 to come
back later, when the others had their turn. It ends when the connection is to be closed."""


class Wire:
    """What goes to the client: ``buffers`` that are not sent yet."""

    def __init__(self) -> None:
        self.buffers: list[memoryview] = []

    def put(self, *pieces: bytes | memoryview) -> None:
        """Send ``pieces``, one after the other."""
        self.buffers += [memoryview(piece) for piece in pieces if len(piece)]


class Exported(Struct, frozen=True, eq=False):
    """The disk ``disk`` as the export ``name``, with what dirty ``bitmaps`` mark, by what they are
    called, as far as clients are told of them."""

    disk: Block
    name: str = ""
    readonly: bool = False
    bitmaps: Mapping[str, Marks] = field(default_factory=dict)

    @property
    def encoded(self) -> bytes:
        """The name, as it goes over the wire."""
        return os.fsencode(self.name)

    @property
    def contexts(self) -> tuple[str, ...]:
        """The metadata that there is."""
        return CONTEXT, *(f"{BITMAP_CONTEXT}{name}" for name in self.bitmaps)


class Exports:
    """What a server has, by name. If it has one export, an empty name asks for that, too."""

    def __init__(self, *exports: Exported):
        self._all = {each.encoded: each for each in exports}

    def __iter__(self) -> Iterator[Exported]:
        return iter([*self._all.values()])

    def find(self, name: bytes) -> Exported | None:
        """The export that a client calls so."""
        if not name and len(self._all) == 1:
            return next(iter(self))
        return self._all.get(name)

    def add(self, export: Exported) -> None:
        """Have one more, of another name."""
        self._all[export.encoded] = export

    def remove(self, export: Exported) -> None:
        """Have one no more."""
        self._all.pop(export.encoded, None)


class Terms(Struct):
    """What a client has agreed on: whether it takes ``structured`` replies, and the ``contexts``,
    of the export ``asked``, of which it wants to hear; and which export it uses, in the end."""

    structured: bool = False
    asked: Exported | None = None
    contexts: tuple[str, ...] = ()
    export: Exported | None = None

    def flags(self, export: Exported) -> TransmissionFlag:
        """What an export is and can. All clients see one disk, and a flush is for all."""
        flags = TransmissionFlag.HAS_FLAGS | TransmissionFlag.FLUSH | TransmissionFlag.FUA
        flags |= TransmissionFlag.MULTI_CONNECTION
        if self.structured:
            flags |= TransmissionFlag.DONT_FRAGMENT
        if export.readonly:
            return flags | TransmissionFlag.READ_ONLY
        return flags | TransmissionFlag.TRIM | TransmissionFlag.WRITE_ZEROES

    def take(self, export: Exported) -> None:
        """The client goes on with an export; contexts of another one mean nothing."""
        self.export = export
        if export is not self.asked:
            self.contexts = ()
