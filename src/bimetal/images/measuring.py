"""How large an image would become."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from msgspec import Struct

from bimetal.backends.block.block import Block
from bimetal.backends.block.formats import RAW
from bimetal.backends.block.qcow2.create import NewImage
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.images.opening import opened
from bimetal.images.options import Options, Value
from bimetal.images.sources import SnapshotDisk

__all__ = ["Measure", "measure", "measure_new"]


class Measure(Struct, frozen=True):
    """The bytes of a file that are ``required`` for an image now, and once its disk is written
    everywhere; and for the dirty bitmaps of the source, None where it can have none."""

    required: int
    fully_allocated: int
    bitmaps: int | None = None


def measure(
    path: str,
    *,
    format: str | None = None,
    target_format: str = RAW,
    snapshot: str | None = None,
    shared: bool = False,
    folders: tuple[str, ...] = (),
    options: Mapping[str, Value] | None = None,
) -> Measure:
    """How large an image of ``target_format`` with ``options`` would be that shows what the one at
    ``path`` does."""
    chosen = Options.read(target_format, options or {})
    with ExitStack() as stack:
        disk = stack.enter_context(opened(path, format, shared=shared, folders=folders))
        source = disk if snapshot is None else SnapshotDisk(disk, snapshot)
        size = chosen.size or source.size
        if target_format == RAW:
            return Measure(size, size)
        new = chosen.new_image(size)
        new.check()
        full = _fully_allocated(new)
        bitmaps = None
        if isinstance(disk, Qcow2Image) and disk.header.version >= 3 and new.version >= 3:
            bitmaps = 0
        needed = _stored(source, new.cluster)
        if chosen.preallocation in ("falloc", "full"):
            needed = _up(size, new.cluster)
        return Measure(full - _up(size, new.cluster) + needed, full, bitmaps)


def measure_new(
    size: int, *, target_format: str = RAW, options: Mapping[str, Value] | None = None
) -> Measure:
    """How large an image of ``target_format`` with ``options`` would be whose disk has ``size``
    bytes."""
    chosen = Options.read(target_format, options or {})
    if target_format == RAW:
        return Measure(size, size)
    new = chosen.new_image(size)
    new.check()
    full = _fully_allocated(new)
    needed = _up(size, new.cluster) if chosen.preallocation in ("falloc", "full") else 0
    return Measure(full - _up(size, new.cluster) + needed, full)


def _stored(source: Block, cluster: int) -> int:
    """Bytes of clusters in which ``source`` has data."""
    clusters, end = 0, 0
    for extent in source.extents(0, source.size):
        if extent.zero or not extent.data:
            continue
        first, last = max(extent.start // cluster, end), -(-extent.stop // cluster)
        clusters += max(last - first, 0)
        end = max(end, last)
    return clusters * cluster


def _fully_allocated(new: NewImage) -> int:
    """Bytes of an image that has all clusters of its disk."""
    cluster, words = new.cluster, 16 if new.extended else 8
    disk = _up(new.size, cluster)
    entries = _up(disk // cluster, cluster // words)
    tables = entries * words
    top = _up(tables // cluster, cluster // 8) * 8
    structures = cluster + tables + top
    return structures + disk + _references((structures + disk) // cluster, new)


def _references(clusters: int, new: NewImage) -> int:
    """Bytes of the counts of so many clusters, and of those of their own."""
    per_block = new.cluster * 8 // new.reference_bits
    blocks = table = 0
    while True:
        more = -(-(clusters + table + blocks) // per_block)
        longer = -(-more * 8 // new.cluster)
        if (more, longer) == (blocks, table):
            return (blocks + table) * new.cluster
        blocks, table = more, longer


def _up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
