"""Copying the bytes of a disk, and not those of its holes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bimetal.backends.block.block import SECTOR, Block
from bimetal.images.progress import Progress, Steps

__all__ = ["CHUNK", "copy", "nonzero_runs"]

CHUNK = 2 << 20
"""Bytes that are read at once."""

Write = Callable[[int, memoryview], None]

_ZEROES = bytes(CHUNK)


def copy(
    source: Block,
    write: Write,
    *,
    stop: int,
    sparse: int,
    progress: Progress,
    unit: int = SECTOR,
) -> None:
    """Give all bytes of ``source`` before ``stop`` that are not zero to ``write``, with their
    offset, in order and in whole units of ``unit`` bytes. Zeroes are left out where ``sparse``
    bytes follow each other; none are if that is 0. Raises OSError."""
    steps = Steps(stop, progress)
    done = 0
    for start, end in _chunks(source, stop, unit, sparse):
        data = memoryview(source.read(start, end - start))
        for first, last in nonzero_runs(data, max(sparse, unit)) if sparse else [(0, len(data))]:
            write(start + first, data[first:last])
        steps.done(end - done)
        done = end
    steps.done(stop - done)


def _chunks(source: Block, stop: int, unit: int, sparse: int) -> Iterator[tuple[int, int]]:
    """What must be read: ranges in order, none longer than `CHUNK`."""
    begun = ended = 0
    for extent in source.extents(0, stop):
        if extent.zero and sparse:
            continue
        first = extent.start - extent.start % unit
        if first > ended:
            yield from _cut(begun, ended)
            begun = first
        ended = max(ended, min(extent.stop + -extent.stop % unit, stop))
    yield from _cut(begun, ended)


def _cut(begun: int, ended: int) -> Iterator[tuple[int, int]]:
    for start in range(begun, ended, CHUNK):
        yield start, min(start + CHUNK, ended)


def nonzero_runs(data: memoryview, unit: int) -> Iterator[tuple[int, int]]:
    """Where in ``data`` there is something else than whole units of zeroes."""
    begun: int | None = None
    zeroes = memoryview(_ZEROES)[:unit]
    for at in range(0, len(data), unit):
        piece = data[at : at + unit]
        blank = piece == zeroes[: len(piece)]
        if blank and begun is not None:
            yield begun, at
            begun = None
        elif not blank and begun is None:
            begun = at
    if begun is not None:
        yield begun, len(data)
