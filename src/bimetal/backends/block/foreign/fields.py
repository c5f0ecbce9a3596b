"""Tables and texts in images that nobody checked: read when they are needed, in bounded memory."""

from __future__ import annotations

import os
from collections import OrderedDict
from struct import Struct

from bimetal.backends.block.commands import convert_command, unused
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.words import bad_image
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["Table", "damaged", "read_exactly", "unsupported"]

PAGE = 4096
"""Entries of a table that are read together."""

PAGES = 32
"""Pages of a table that are kept."""


class Table:
    """``count`` numbers that lie one behind the other in ``file`` from ``offset`` on, each of
    which ``number`` takes apart. Raises `BimetalError` if they are not inside the file."""

    def __init__(self, file: ImageFile, what: str, offset: int, count: int, number: Struct):
        if offset + count * number.size > file.length:
            raise damaged(file, f"its {what} is not inside the file")
        self._file, self._what, self._number = file, what, number
        self._offset, self._count = offset, count
        self._pages: OrderedDict[int, tuple[int, ...]] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> int:
        """The number ``index``. Raises OSError."""
        page = self._pages.get(index // PAGE)
        if page is None:
            page = self._read(index // PAGE)
        return page[index % PAGE]

    def _read(self, number: int) -> tuple[int, ...]:
        first, size = number * PAGE, self._number.size
        count = min(PAGE, self._count - first)
        data = read_exactly(self._file.fd, self._offset + first * size, count * size)
        page = tuple(entry for (entry,) in self._number.iter_unpack(data))
        self._pages[number] = page
        if len(self._pages) > PAGES:
            self._pages.popitem(last=False)
        return page


def read_exactly(fd: int, offset: int, length: int) -> bytes:
    """``length`` bytes from ``offset`` on. Raises OSError, also if the file ends."""
    data = os.pread(fd, length, offset) if offset < 1 << 63 else b""
    if len(data) < length:
        raise bad_image(f"there is nothing at {offset:#x}")
    return data


def damaged(file: ImageFile, why: str) -> BimetalError:
    """The error for an image that contradicts itself."""
    return BimetalError(
        f"{file.path!r} is no sound image: {why}", "copy or fetch it again", ExitCode.DATA
    )


def unsupported(file: ImageFile, format: str, what: str, remedy: str = "") -> BimetalError:
    """The error for what the format has and is not read here; QEMU does, without a ``remedy``."""
    order = convert_command(file.path, format, unused(os.path.splitext(file.path)[0] + ".qcow2"))
    return BimetalError(
        f"the image {file.path!r} {what}, which is not supported",
        remedy or f"make a qcow2 image of it: {order}",
        ExitCode.DATA,
    )
