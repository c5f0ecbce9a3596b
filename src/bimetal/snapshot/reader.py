"""Reading a snapshot that somebody else may have made, or damaged, on purpose too."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from bimetal.base.closes import Closes
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.threads import share_out
from bimetal.memory.contents import Area, Stretch
from bimetal.snapshot.checksum import crc32
from bimetal.snapshot.layout import (
    BLOCK,
    BLOCK_PAGES,
    HEADER,
    PAGE,
    Header,
    damaged,
)
from bimetal.snapshot.packing import unpack
from bimetal.snapshot.plain import from_json
from bimetal.snapshot.runs import Run, unpack_runs
from bimetal.snapshot.sound import is_sound, note_sound

__all__ = ["Mappable", "Reader"]


class Mappable(Protocol):
    """Memory that can be that of a file until it is written to."""

    size: int
    bytes: memoryview

    def adopt(self, fd: int, runs: list[tuple[int, int, int]]) -> None:
        """Have the content of a file: offset here, length and offset in the file of each run."""


class Reader(Closes):
    """The snapshot at ``path``: its ``manifest``, and what its areas of memory hold. If the file is
    open already, as ``fd``, that is closed with it, and ``path`` is only what it is called.

    Raises `BimetalError` for a file that cannot be read, is of another version, or is damaged.
    """

    def __init__(self, path: str, fd: int | None = None):
        self.path = path
        self._fd = _open(path) if fd is None else fd
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        size = os.fstat(self._fd).st_size
        header = Header.unpack(self._bytes(0, HEADER), self.path, size)
        text = self._bytes(header.offset, header.length)
        if hashlib.sha256(text).digest() != header.digest:
            raise damaged(self.path, "its manifest is not what was written")
        try:
            manifest = from_json(text)
            self.manifest: Mapping[str, Any] = {**manifest}
            self._stored, self._packed = _whole(manifest["stored"]), bool(manifest["packed"])
            self._blocks = [_block(each, header.offset) for each in manifest["blocks"]]
            self._areas = {
                str(name): (_whole(area["size"]), area["pages"])
                for name, area in manifest["areas"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(self.path, f"its manifest makes no sense: {error!r:.200}") from error
        places = [(offset, length) for offset, length, _ in self._blocks]
        plain = [(HEADER + n * BLOCK, self._size(n)) for n in range(len(places))]
        if (self._stored + BLOCK_PAGES - 1) // BLOCK_PAGES != len(places) or not (
            self._packed or places == plain
        ):
            raise damaged(self.path, "its pages are not all there")

    @property
    def areas(self) -> dict[str, int]:
        """The size in bytes of each area of memory."""
        return {name: size for name, (size, _) in self._areas.items()}

    def check(self) -> None:
        """Compare all pages with their checksums, unless this process has done so before. Raises
        `BimetalError`."""
        if not is_sound(self._fd):
            share_out(range(len(self._blocks)), self._check)
            note_sound(self._fd)

    def _check(self, numbers: Iterable[int]) -> None:
        buffer = memoryview(bytearray(BLOCK))  # one for all: it stays in the processor's cache
        for number in numbers:
            if self._packed:
                self._content(number)
                continue
            offset, length, checksum = self._blocks[number]
            into = buffer[:length]
            try:
                count = _read_into(self._fd, into, offset)
            except OSError as error:
                raise _unreadable(self.path, error) from error
            if count != length or crc32(into) != checksum:
                raise self._wrong(number)

    def map_into(self, name: str, memory: Mappable) -> None:
        """Give ``memory``, which is all zeroes, the content of an area: pages are read from the
        file when they are first accessed, if they lie in it as they are.

        Call `check` before: nothing compares them later. The file must not change meanwhile, which
        replacing it does not do.
        """
        runs = self._runs(name, memory.size)
        if not self._packed:
            places = [
                (run.page * PAGE, run.length * PAGE, HEADER + run.stored * PAGE) for run in runs
            ]
            try:
                memory.adopt(self._fd, places)
            except OSError as error:
                raise _unreadable(self.path, error) from error
        else:
            self._copy(runs, Stretch(memory.bytes))

    def copy_into(self, name: str, area: Area) -> None:
        """Give ``area`` its content."""
        runs = self._runs(name, area.size)
        area.clear()
        self._copy(runs, area)

    def close(self) -> None:
        """Close the file. What was mapped from it stays. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _runs(self, name: str, size: int) -> list[Run]:
        if name not in self._areas or self._areas[name][0] != size:
            raise damaged(self.path, f"it has no {size} bytes of memory called {name}")
        try:
            return unpack_runs(self._areas[name][1], -(-size // PAGE), self._stored)
        except ValueError as error:
            raise damaged(self.path, f"{name}: {error}") from error

    def _copy(self, runs: list[Run], area: Area) -> None:
        number, content = -1, b""
        for run in runs:
            for n in range(run.length):
                block, inside = divmod(run.stored + n, BLOCK_PAGES)
                if block != number:
                    number, content = block, self._content(block)
                area.put(run.page + n, content[inside * PAGE : (inside + 1) * PAGE])

    def _content(self, number: int) -> bytes:
        """The pages of a block, compared with their checksum."""
        offset, length, checksum = self._blocks[number]
        content = self._bytes(offset, length)
        if self._packed:
            try:
                content = unpack(content)
            except ValueError as error:
                raise damaged(self.path, f"block {number}: {error}") from error
        if len(content) != self._size(number) or crc32(content) != checksum:
            raise self._wrong(number)
        return content

    def _wrong(self, number: int) -> BimetalError:
        return damaged(self.path, f"block {number} of its memory is not what was written")

    def _size(self, number: int) -> int:
        return min(self._stored - number * BLOCK_PAGES, BLOCK_PAGES) * PAGE

    def _bytes(self, offset: int, length: int) -> bytes:
        data = bytearray(length)
        try:
            count = _read_into(self._fd, memoryview(data), offset)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if offset and count != length:
            raise damaged(self.path, "it ends too early")
        return bytes(data[:count])


def _block(block: Any, end: int) -> tuple[int, int, int]:
    offset, length, checksum = (_whole(each) for each in block)
    if not HEADER <= offset <= offset + length <= end or length > 2 * BLOCK:
        raise ValueError(f"a block at {offset}, {length} bytes long")
    return offset, length, checksum


def _whole(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise ValueError(f"{value!r:.40} is no number of bytes or pages")
    return value


def _open(path: str) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise BimetalError(
            f"the snapshot {path} cannot be read: {getattr(error, 'strerror', error)}",
            "check the path and its permissions",
            ExitCode.NO_INPUT,
        ) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise BimetalError(
            f"the snapshot {path} is not a file", "give the path of a file", ExitCode.NO_INPUT
        )
    return fd


def _read_into(fd: int, into: memoryview, offset: int) -> int:
    """Read as many bytes, fewer only at the end of the file: some file systems, as 9p, give less
    than was asked for. Raises OSError."""
    count = 0
    while count < len(into) and (more := os.preadv(fd, [into[count:]], offset + count)):
        count += more
    return count


def _unreadable(path: str, error: OSError) -> BimetalError:
    return BimetalError(
        f"the snapshot {path} cannot be read: {error.strerror}",
        "check the host's disk; the end of the output of dmesg may tell more",
        ExitCode.DATA,
    )
