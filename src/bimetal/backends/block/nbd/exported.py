"""An image that is served: what clients are told of it."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import dataclass

from bimetal.backends.block.block import Block
from bimetal.backends.block.nbd.protocol import TransmissionFlag

__all__ = ["Exported", "Talk", "Wire"]

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


@dataclass
class Exported:
    """The disk ``disk`` as the export ``name``; an empty name asks for it too."""

    disk: Block
    name: str = ""
    readonly: bool = False
    structured: bool = False
    """Whether this client takes structured replies."""
    context: bool = False
    """Whether it has asked for the context of allocation."""

    @property
    def encoded(self) -> bytes:
        """The name, as it goes over the wire."""
        return os.fsencode(self.name)

    @property
    def flags(self) -> TransmissionFlag:
        """What the export is and can. All clients see one disk, and a flush is for all."""
        flags = TransmissionFlag.HAS_FLAGS | TransmissionFlag.FLUSH | TransmissionFlag.FUA
        flags |= TransmissionFlag.MULTI_CONNECTION
        if self.structured:
            flags |= TransmissionFlag.DONT_FRAGMENT
        if self.readonly:
            return flags | TransmissionFlag.READ_ONLY
        return flags | TransmissionFlag.TRIM | TransmissionFlag.WRITE_ZEROES
