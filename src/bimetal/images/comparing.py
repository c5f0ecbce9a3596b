"""Whether two images show the same."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

from msgspec import Struct

from bimetal.backends.block.block import SECTOR, Block, Extent, joined
from bimetal.images.copying import CHUNK
from bimetal.images.opening import opened
from bimetal.images.progress import Progress, no_progress

__all__ = ["Comparison", "compare"]


class Comparison(Struct, frozen=True):
    """Two disks are ``identical``, or differ ``at`` an offset first, or in how long they are if
    that is None. ``allocation`` says that they differ in what is stored there, not in its bytes.
    ``sizes`` are the sizes of both."""

    identical: bool
    sizes: tuple[int, int]
    at: int | None = None
    allocation: bool = False


def compare(
    first: str,
    second: str,
    *,
    first_format: str | None = None,
    second_format: str | None = None,
    strict: bool = False,
    shared: bool = False,
    folders: tuple[str, ...] = (),
    progress: Progress = no_progress,
) -> Comparison:
    """Compare the disks in two images. What one of them is longer must be zeroes; if ``strict``,
    both must be as long, and have the same parts stored."""
    with (
        opened(first, first_format, shared=shared, folders=folders) as one,
        opened(second, second_format, shared=shared, folders=folders) as other,
    ):
        sizes = one.size, other.size
        if strict and one.size != other.size:
            return Comparison(False, sizes)
        if strict and (at := _stored_differently(one, other)) is not None:
            return Comparison(False, sizes, at, allocation=True)
        at = _first_difference(one, other, progress)
        return Comparison(at is None, sizes, at)


def _first_difference(one: Block, other: Block, progress: Progress) -> int | None:
    end = max(one.size, other.size)
    for start, stop, both_zero in _ranges(one, other, end):
        if both_zero:
            continue
        for at in range(start, stop, CHUNK):
            progress(at / end)
            length = min(CHUNK, stop - at)
            left, right = _read(one, at, length), _read(other, at, length)
            if left != right:
                sectors = range(0, length, SECTOR)
                return at + next(
                    n for n in sectors if left[n : n + SECTOR] != right[n : n + SECTOR]
                )
    progress(1.0)
    return None


def _ranges(one: Block, other: Block, end: int) -> list[tuple[int, int, bool]]:
    """Ranges up to ``end`` with whether both disks are known to be zero there."""
    edges = {0, end}
    zeroes = []
    for disk in (one, other):
        known = [(e.start, e.stop) for e in disk.extents(0, disk.size) if e.zero]
        known.append((disk.size, end))
        zeroes.append(known)
        edges.update(edge for pair in known for edge in pair)
    cuts = sorted(edges)
    return [
        (start, stop, all(_covers(known, start) for known in zeroes))
        for start, stop in pairwise(cuts)
    ]


def _covers(ranges: list[tuple[int, int]], place: int) -> bool:
    at = bisect_right(ranges, (place, 1 << 63)) - 1
    return at >= 0 and ranges[at][0] <= place < ranges[at][1]


def _read(disk: Block, start: int, length: int) -> bytes:
    inside = max(min(length, disk.size - start), 0)
    return disk.read(start, inside).ljust(length, b"\0") if inside else bytes(length)


def _stored_differently(one: Block, other: Block) -> int | None:
    """Where one disk has something stored and the other has not."""
    stored = [
        {(e.start, e.stop) for e in joined(_plain(disk)) if e.present} for disk in (one, other)
    ]
    different = stored[0] ^ stored[1]
    return min(start for start, _ in different) if different else None


def _plain(disk: Block) -> Iterator[Extent]:
    for extent in disk.extents(0, disk.size):
        yield Extent(extent.start, extent.length, present=extent.present)
