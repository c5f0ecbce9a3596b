"""Programs ready to be put into guest memory, whatever file they came from."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

from msgspec import Struct

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import format_size
from bimetal.firmware.contents import LARGEST, FileContents
from bimetal.firmware.memory_room import MemoryRoom

__all__ = ["Program", "Segment", "read_file"]

ZEROES = bytes(1 << 20)


class Segment(Struct, frozen=True):
    """``data`` at the guest-physical ``address``, zeroes behind it up to ``size`` bytes."""

    address: int
    data: bytes | bytearray | memoryview | FileContents
    size: int

    @property
    def end(self) -> int:
        """The first address behind the segment."""
        return self.address + self.size

    def copy_to(self, memory: memoryview) -> None:
        """Copy ``data`` to memory of its size. Raises `BimetalError` if it cannot be read."""
        if isinstance(self.data, FileContents):
            self.data.read_into(memory)
        else:
            memory[:] = self.data


class Program(Struct, frozen=True):
    """What is loaded before a guest runs; ``name`` is what the user called it, ``moved`` how far
    it lies from where it was linked."""

    name: str
    segments: tuple[Segment, ...]
    entry: int
    moved: int = 0

    @property
    def start(self) -> int:
        """The lowest address."""
        return min(segment.address for segment in self.segments)

    @property
    def end(self) -> int:
        """The first address behind the program, with what it uses uninitialised."""
        return max(segment.end for segment in self.segments)

    def check_entry(self, alignment: int) -> None:
        """Raise `BimetalError` if no instruction can be where the program is entered."""
        inside = any(each.address <= self.entry < each.end for each in self.segments)
        if inside and self.entry % alignment == 0:
            return
        how = "where nothing of it is loaded"
        if inside:
            how = f"and instructions begin at multiples of {alignment}"
        raise BimetalError(
            f"{self.name} is to be entered at {self.entry:#x}, {how}",
            "build it with an entry point that is code, as with -Wl,-e,_start",
            ExitCode.DATA,
        )

    def load(self, room: MemoryRoom) -> None:
        """Put the program into memory. Raises `BimetalError` if there is none for it."""
        for segment in self.segments:
            if room.missing_before(segment.address, segment.size) != 0:
                cause, remedy = room.explain(segment.address, segment.size)
                raise BimetalError(f"{self.name} {cause}", remedy, ExitCode.DATA)
            with room.space.view(segment.address, segment.size) as view:
                with view[: len(segment.data)] as part:
                    segment.copy_to(part)
                for start in range(len(segment.data), segment.size, len(ZEROES)):
                    zeroes = ZEROES[: segment.size - start]
                    with view[start : start + len(zeroes)] as part:
                        # The host gives no memory for zeroes that are only looked at.
                        if bytes(part) != zeroes:
                            part[:] = zeroes


def _read(file: IO[bytes], expected: int) -> bytes:
    """What is in a file, or enough of it to see that it is too large. To ask for so much at once
    would take the room for it, which not every host has."""
    parts, size, wanted = [], 0, expected + 1
    while size <= LARGEST and (part := file.read(wanted)):
        parts.append(part)
        size, wanted = size + len(part), len(ZEROES)
    return b"".join(parts)


def read_file(path: str, what: str) -> bytes:
    """The contents of ``path``, `LARGEST` bytes at most.

    Raises `BimetalError` that calls it ``what``, as in "kernel".
    """
    try:
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            usable = status.st_size <= LARGEST and not stat.S_ISCHR(status.st_mode)
            data = _read(file, status.st_size) if usable else b""
    except OSError as error:
        raise BimetalError(
            f"the {what} {path} cannot be read: {error.strerror}",
            "check the path and its permissions",
            ExitCode.NO_INPUT,
        ) from error
    if not usable or len(data) > LARGEST:
        raise BimetalError(
            f"the {what} {path} is a device, or larger than {format_size(LARGEST)}",
            f"give a file with a {what} in it",
            ExitCode.DATA,
        )
    if not data:
        raise BimetalError(f"the {what} {path} is empty", "get the file anew", ExitCode.DATA)
    return data
