"""Images made of other images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from bimetal.backends.block.block import Block
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.formats import QCOW2, RAW
from bimetal.backends.block.qcow2.compressed import check_compression
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.qcow2.packing import Packer
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.images.copying import CHUNK, copy
from bimetal.images.creating import fill
from bimetal.images.opening import opened, qcow2
from bimetal.images.options import Options, Value
from bimetal.images.output import new_file, refuse_inputs
from bimetal.images.progress import Progress, no_progress
from bimetal.images.sources import Joined, SnapshotDisk

__all__ = ["convert"]

SPARSE = 4096
"""So many zeroes in a row are not written."""


def convert(
    sources: Sequence[str],
    target: str,
    *,
    format: str | None = None,
    target_format: str = RAW,
    compress: bool = False,
    snapshot: str | None = None,
    backing: str | None = None,
    backing_format: str | None = None,
    sparse: int = SPARSE,
    into: bool = False,
    shared: bool = False,
    folders: tuple[str, ...] = (),
    options: Mapping[str, Value] | None = None,
    progress: Progress = no_progress,
) -> None:
    """Make an image at ``target`` whose disk is that of the image ``sources``, one behind the
    other if there are several, or that which its ``snapshot`` has.

    ``compress`` compresses clusters of qcow2. With ``backing`` only what differs from that image
    is stored. Where ``sparse`` zeroes follow each other there will be a hole; none if it is 0.
    ``into`` writes to an image that is there already, instead of making one. ``options`` are those
    of ``qemu-img convert -o``.
    """
    given = dict(options or {})
    if backing is not None:
        given["backing_file"] = backing
    if backing_format is not None:
        given["backing_fmt"] = backing_format
    chosen = Options.read(target_format, given)
    _check(target, target_format, compress, into, chosen)
    with ExitStack() as stack:
        disks = [
            stack.enter_context(opened(path, format, shared=shared, folders=folders))
            for path in sources
        ]
        source: Block = Joined(disks)
        if snapshot is not None:
            if len(disks) > 1:
                raise _wrong("a snapshot is one of one image", "name one image")
            source = SnapshotDisk(disks[0], snapshot)
        inputs = [name for disk in disks for name in disk.files()]
        below = None
        if chosen.backing_file is not None:
            where = os.path.join(os.path.dirname(target), chosen.backing_file)
            inputs.append(where)
            below = stack.enter_context(
                opened(where, chosen.backing_fmt, shared=True, folders=folders)
            )
        if into:
            refuse_inputs(target, inputs)
            with opened(target, target_format, writable=True, folders=folders) as disk:
                _fill_old(source, disk, compress, progress)
            return
        with new_file(target, target_format, inputs) as part:
            fill(part, target, target_format, chosen.size or source.size, chosen)
            _fill_new(part, target_format, source, below, compress, sparse, progress)


def _fill_new(
    part: str,
    format: str,
    source: Block,
    below: Block | None,
    compress: bool,
    sparse: int,
    progress: Progress,
) -> None:
    disk = open_disk(part, format=format, lock=False, folders=("/",))
    try:
        stop = min(source.size, disk.size)
        if below is not None:
            _write_differences(source, below, disk, compress, progress)
        else:
            _write_all(source, disk, stop, compress, sparse, progress)
        disk.flush()
    finally:
        disk.close()


def _write_all(
    source: Block, disk: Block, stop: int, compress: bool, sparse: int, progress: Progress
) -> None:
    """Write what of ``source`` is not zero to ``disk``, which is."""
    if not isinstance(disk, Qcow2Image):
        copy(source, disk.write, stop=stop, sparse=sparse, progress=progress)
        return
    write = Packer(disk).write if compress else disk.write
    unit = disk.header.cluster
    least = max(sparse, unit) if sparse else 0
    copy(source, write, stop=stop, sparse=least, progress=progress, unit=unit)


def _fill_old(source: Block, disk: Block, compress: bool, progress: Progress) -> None:
    """Make ``disk`` show what ``source`` does, whatever it shows now."""
    if disk.size < source.size:
        raise _wrong(
            f"the image {disk.name!r} has {disk.size} bytes, and the source {source.size}",
            "make it longer: bimetal image resize",
        )
    disk.write_zeroes(0, disk.size, unmap=True)
    _write_all(source, disk, source.size, compress, SPARSE, progress)


def _write_differences(
    source: Block, below: Block, disk: Block, compress: bool, progress: Progress
) -> None:
    """Write what of ``source`` the backing file ``below`` of ``disk`` does not show."""
    image = qcow2(disk, "backing file")
    unit = image.header.cluster
    packer = Packer(image) if compress else None
    stop = min(source.size, disk.size)
    for start in range(0, stop, CHUNK):
        end = min(start + CHUNK, stop)
        progress(start / stop)
        wanted, shown = source.read(start, end - start), bytearray(end - start)
        if start < below.size:
            below.readv(start, [memoryview(shown)[: below.size - start]])
        for at in range(0, end - start, unit):
            piece = wanted[at : at + unit]
            if piece == shown[at : at + unit]:
                continue
            if not any(piece) and image.header.version >= 3:
                disk.write_zeroes(start + at, len(piece), unmap=True)
            elif packer is not None:
                packer.write(start + at, memoryview(piece))
            else:
                disk.write(start + at, piece)
    progress(1.0)


def _check(target: str, format: str, compress: bool, into: bool, options: Options) -> None:
    if compress and format != QCOW2:
        raise _wrong(f"images of the format {format} are not compressed", "choose -O qcow2")
    if compress and options.data_file is not None:
        raise _wrong("what lies in a data file is not compressed", "leave -c or data_file away")
    if compress:
        check_compression(options.compression_type, target)
    if options.backing_file is not None and options.backing_fmt is None:
        raise _wrong(
            f"nothing says which format the backing file {options.backing_file!r} has",
            "add -F raw or -F qcow2",
        )
    if into and options != Options():
        raise _wrong("an image that is there has its options", "leave -o and -B away, or -n")


def _wrong(cause: str, remedy: str) -> BimetalError:
    return BimetalError(cause, remedy, ExitCode.USAGE)
