"""Bytes on the way from one image to another: as they are, or known to be zeroes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from bimetal.backends.block.block import Block, Extent, joined
from bimetal.base.bits import align_up
from bimetal.machine.live.dirty import GRANULE

__all__ = ["Piece", "WriteFailed", "give", "survey", "take"]

EXTENTS_LIMIT = 256
"""Extents that are looked at for one visit."""

ZEROES_AT_ONCE = 64 << 20

SURVEYED_AT_ONCE = 1024
"""Extents that are looked at for one visit, where none is read."""


class WriteFailed(OSError):
    """The host has failed to write to the target."""


class Piece(Struct, frozen=True):
    """``length`` bytes from ``start`` on: ``data``, or zeroes."""

    start: int
    length: int
    data: bytes | None = None


def take(
    source: Block, start: int, length: int, chunk: int, wanted: Callable[[Extent], bool]
) -> tuple[list[Piece], int]:
    """What of these bytes is ``wanted``, from ``start`` on: until there are ``chunk`` bytes of
    data; and how many bytes that deals with, whole granules. Raises OSError."""
    pieces, stop, room = list[Piece](), start, chunk
    for number, extent in enumerate(joined(source.extents(start, length))):
        if number == EXTENTS_LIMIT or room <= 0:
            break
        part = extent.length
        if not wanted(extent):
            pass
        elif extent.zero:
            pieces.append(Piece(extent.start, part))
        else:
            part = min(part, room)
            pieces.append(Piece(extent.start, part, source.read(extent.start, part)))
            room -= part
        stop = extent.start + part
        if part < extent.length:
            break
    end = start + length
    whole = min(align_up(stop, GRANULE), end)
    if whole > stop:
        rest, _ = take(source, stop, whole - stop, whole - stop, wanted)
        pieces += rest
    return pieces, whole - start


def survey(
    image: Block, start: int, wanted: Callable[[Extent], bool], mark: Callable[[int, int], None]
) -> int:
    """Tell which bytes from ``start`` on are ``wanted``, up to where this returns. Raises
    OSError."""
    for number, extent in enumerate(joined(image.extents(start, image.size - start))):
        if number == SURVEYED_AT_ONCE:
            return extent.start
        if wanted(extent):
            mark(extent.start, extent.length)
    return image.size


def give(target: Block, pieces: Sequence[Piece]) -> None:
    """Write ``pieces``. Raises `WriteFailed`."""
    try:
        for piece in pieces:
            if piece.data is not None:
                target.write(piece.start, piece.data)
                continue
            stop = piece.start + piece.length
            for at in range(piece.start, stop, ZEROES_AT_ONCE):
                target.write_zeroes(at, min(ZEROES_AT_ONCE, stop - at), unmap=True)
    except OSError as error:
        raise WriteFailed(error.errno, f"{target.name}: {error.strerror or error}") from error
