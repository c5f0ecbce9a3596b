"""New images."""

from __future__ import annotations

import os
from contextlib import closing

from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.formats import QCOW2, RAW, check_format
from bimetal.backends.block.qcow2.create import NewImage, write_new
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.qcow2.preallocate import preallocate
from bimetal.backends.block.vector import write_vector
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import parse_size
from bimetal.images.opening import opened
from bimetal.images.options import Options, Value
from bimetal.images.output import new_file

__all__ = ["create", "fill", "make"]

ZEROES = bytes(1 << 20)


def create(
    path: str,
    size: int | str | None = None,
    *,
    format: str = RAW,
    backing: str | None = None,
    backing_format: str | None = None,
    unsafe: bool = False,
    folders: tuple[str, ...] = (),
    **options: Value,
) -> None:
    """Make an empty image at ``path``, of ``size`` bytes (or like ``"8G"``), or as large as its
    ``backing`` file, which must be one of ``backing_format`` unless that is ``unsafe``.

    ``options`` are those of ``qemu-img create -o``. A file that is there is replaced, unless it is
    in use.
    """
    given = dict(options)
    if backing is not None:
        given["backing_file"] = backing
    if backing_format is not None:
        given["backing_fmt"] = backing_format
    chosen = Options.read(format, given)
    length = chosen.size if size is None else parse_size(size)
    below: list[str] = []
    if chosen.backing_file is not None:
        if chosen.backing_fmt is None:
            raise BimetalError(
                f"nothing says which format the backing file {chosen.backing_file!r} has",
                "add -F raw or -F qcow2",
                ExitCode.USAGE,
            )
        check_format(chosen.backing_fmt)
        where = os.path.join(os.path.dirname(path), chosen.backing_file)
        below.append(where)
        if not unsafe or length is None:
            with opened(where, chosen.backing_fmt, shared=True, folders=folders) as disk:
                length = disk.size if length is None else length
    if length is None:
        raise BimetalError(
            "nothing says how large the image shall be", "add a size, like 8G", ExitCode.USAGE
        )
    make(path, format, length, chosen, below)


def make(path: str, format: str, size: int, options: Options, inputs: list[str]) -> None:
    """Make the image at ``path``, which must be none of ``inputs``."""
    with new_file(path, format, inputs) as part:
        fill(part, path, format, size, options)


def fill(part: str, path: str, format: str, size: int, options: Options) -> None:
    """Make an image of the empty file ``part``, which will lie at ``path``."""
    if format == RAW:
        _fill_raw(part, size, options.preallocation)
        return
    new = options.new_image(size)
    new.check()
    if options.preallocation != "off" and new.backing is not None and not new.extended:
        raise BimetalError(
            "what has a place in an image does not show its backing file",
            "leave preallocation away, or add extended_l2=on",
            ExitCode.USAGE,
        )
    if new.data_file is not None:
        _make_data_file(path, new)
    fd = os.open(part, os.O_RDWR | os.O_CLOEXEC)
    try:
        write_new(fd, new)
    finally:
        os.close(fd)
    if options.preallocation != "off":
        _preallocate(part, options.preallocation)


def _fill_raw(part: str, size: int, preallocation: str) -> None:
    if size <= 0:
        raise BimetalError("a disk has a sector at least", "give a size like 8G", ExitCode.USAGE)
    length = -(-size // 512) * 512
    fd = os.open(part, os.O_RDWR | os.O_CLOEXEC)
    try:
        if os.path.isfile(part):
            os.ftruncate(fd, length)
        if preallocation == "full":
            for start in range(0, length, len(ZEROES)):
                write_vector(fd, start, [memoryview(ZEROES)[: length - start]])
        elif preallocation != "off":
            os.posix_fallocate(fd, 0, length)
    finally:
        os.close(fd)


def _make_data_file(path: str, new: NewImage) -> None:
    name = os.path.join(os.path.dirname(path), new.data_file or "")
    if os.path.lexists(name) and os.path.getsize(name):
        raise BimetalError(
            f"the data file {name!r} is there already, and may be that of another image",
            "name another one, or remove it",
            ExitCode.USAGE,
        )
    with open(name, "ab") as file:
        file.truncate(-(-new.size // 512) * 512)


def _preallocate(part: str, how: str) -> None:
    with closing(open_disk(part, format=QCOW2, lock=False)) as disk:
        assert isinstance(disk, Qcow2Image)
        preallocate(disk, 0, disk.size, full=how == "full")
        disk.flush()
        if how == "falloc":
            os.posix_fallocate(disk.places.fd, 0, os.lseek(disk.places.fd, 0, os.SEEK_END))
