"""Host memory that guests see as RAM, ROM or a flash array."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial

from bimetal.base.bits import is_aligned
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import MIB, format_size
from bimetal.base.threads import Beside
from bimetal.memory.contents import contents, joined, touched, without

__all__ = ["PAGE_SIZE", "Ram", "host_address", "host_memory"]

PAGE_SIZE = 4096

MAP_FIXED = 0x10
MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP = 1, 2, 4
MOST_MAPPINGS = 4096
"""Runs of pages that are mapped from a file: a host has 65,530 mappings for a process. The shortest
of more runs are copied."""

SHORT_RUN = 8 * PAGE_SIZE
"""Bytes up to which a copy takes less time than a mapping."""

MOST_TOGETHER = 1000
"""Buffers of one call of preadv(2): hosts take 1024."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)

_libc.mremap.restype = ctypes.c_void_p
_libc.mremap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_void_p,
)


class Ram:
    """``size`` zero bytes of host memory at a fixed address, from the host's page allocator.

    ``host`` is the address of the first byte in this process, a multiple of 4096. ``bytes`` is
    the memory itself, writable also where ``readonly`` tells that guests must not write.
    The host gives pages as they are touched. Private and anonymous rather than a memfd, because
    only then do hosts back it with huge pages (`prefer_huge_pages`) by default.
    """

    def __init__(self, name: str, size: int, *, readonly: bool = False):
        if size <= 0 or not is_aligned(size, PAGE_SIZE):
            raise ValueError(f"{name}: size {size:#x} is not a positive multiple of {PAGE_SIZE:#x}")
        self.name, self.size, self.readonly = name, size, readonly
        try:
            self._map = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no host has"
            raise BimetalError(
                f"the host has no {format_size(size)} of memory for {name}: {reason}",
                f"give the machine less memory: the host has {format_size(host_memory())} in all",
                ExitCode.USAGE,
            ) from error
        self.host = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self.bytes = memoryview(self._map)
        self._adopted = self._frozen = self._huge = False
        self.followed = False
        """Whether somebody has to hear of all that is written to it (`Written`)."""
        self._filed: list[tuple[int, int]] = []
        """Where the content of a file is mapped, which may be there though nobody touched it."""
        self._file = -1
        """That file, once there is one."""

    def __repr__(self) -> str:
        return f"Ram({self.name!r}, {format_size(self.size)})"

    def prefer_huge_pages(self) -> None:
        """Have what is touched from now on in huge pages, where the host has some. What was loaded
        before stays in small ones: it is mostly read once, and where the host is a virtual machine
        too, each huge page may have to be had from below first."""
        self._huge = True
        self._want_huge_pages(0, self.size)

    def _want_huge_pages(self, at: int, length: int) -> None:
        with suppress(OSError):  # a host kernel without huge pages says EINVAL
            self._map.madvise(mmap.MADV_HUGEPAGE, at, length)

    def clear(self) -> None:
        """Make every byte zero again and give the pages back to the host."""
        if self._adopted:
            self._remap(0, self.size, -1, 0)
            self._belong_to_nobody()
        self._map.madvise(mmap.MADV_DONTNEED)
        if (fd := self._let_go()) >= 0:
            # If it was deleted meanwhile, who closes it last frees its bytes: milliseconds.
            Beside(partial(os.close, fd))

    def _belong_to_nobody(self) -> None:
        """None of it is a file's any more."""
        self._adopted = self._frozen = False
        self._filed.clear()

    def _let_go(self) -> int:
        fd, self._file = self._file, -1
        return fd

    def adopt(self, fd: int, runs: Sequence[tuple[int, int, int]]) -> None:
        """Have the content of a file in places of memory that is clear, until it is written to: for
        each run its offset here, its length, and its offset in the file, all multiples of 4096.

        The host reads pages when they are first accessed. The file may be closed, and deleted, but
        must not change. Raises OSError.
        """
        self._adopted, self._file = True, os.dup(fd)
        self.prefer_huge_pages()
        long = sorted((run for run in runs if run[1] > SHORT_RUN), key=lambda run: -run[1])
        mapped = set(long[:MOST_MAPPINGS])
        for at, length, offset in mapped:
            self._remap(at, length, fd, offset)
            self._filed.append((at, at + length))
        # Copies by the place in the file: what lies together there is read at once.
        end, together = -1, list[memoryview]()
        for at, length, offset in sorted(set(runs) - mapped, key=lambda run: run[2]):
            if offset != end or len(together) == MOST_TOGETHER:
                _fill(fd, end, together)
                together, end = [], offset
            together.append(self.bytes[at : at + length])
            end += length
        _fill(fd, end, together)

    @property
    def anonymous(self) -> bool:
        """Whether all of it is the host's own memory, and nothing of it a file's."""
        return not self._adopted

    def freeze(self) -> None:
        """Keep what is in it now, for `thaw`. Raises `BimetalError` if the host has no room."""
        try:
            fd = os.memfd_create(f"bimetal-{self.name}", os.MFD_CLOEXEC)
            try:
                os.truncate(fd, self.size)
                for at, data in _joined(self.contents()):
                    os.pwrite(fd, data, at)
                self._remap(0, self.size, fd, 0)
            finally:
                os.close(fd)
        except OSError as error:
            raise BimetalError(
                f"the host cannot keep {format_size(self.size)} of memory: {error.strerror}",
                "give the machine less memory",
                ExitCode.UNAVAILABLE,
            ) from error
        self._adopted = self._frozen = True
        self._filed = [(0, self.size)]

    def thaw(self) -> None:
        """Hold what was there at the last `freeze`, or, without one, zeroes: what was written since
        is given back to the host."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def contents(self) -> Iterator[tuple[int, bytes]]:
        """The number and a copy of each page that is not all zeroes, in order."""
        return contents(self.bytes, self.used(0, self.size))

    def used(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Where it may hold anything but zeroes between two offsets, both multiples of 4096."""
        here = ((start + a, start + b) for a, b in touched(self.host + start, end - start))
        filed = ((max(a, start), min(b, end)) for a, b in self._filed if a < end and b > start)
        yield from joined([*here, *filed])

    def map_from(self, fd: int, start: int, end: int) -> None:
        """Have the content of the same place in a file, until it is written to; or zeroes, as
        memory of nobody else's, if ``fd`` is negative. What was kept by `freeze` is forgotten.
        Raises OSError."""
        self._remap(start, end - start, fd, 0 if fd < 0 else start)
        if fd >= 0:
            self._adopted, self._frozen = True, False
            self._filed = list(joined([*self._filed, (start, end)]))
            return
        self._filed = list(without(self._filed, start, end))
        if not self._filed:
            self._belong_to_nobody()

    def drop(self, start: int, end: int) -> None:
        """Hold what the file has there, see `map_from`, and not what was written since."""
        self._map.madvise(mmap.MADV_DONTNEED, start, end - start)

    def take(self, other: Ram) -> None:
        """Hold what ``other``, which is as large and was never mapped from a file, holds; that is
        all zeroes then. Takes no time for the content (mremap(2)). Raises OSError."""
        self.clear()
        flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP
        if _libc.mremap(other.host, self.size, self.size, flags, self.host) != self.host:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def _remap(self, at: int, length: int, fd: int, offset: int) -> None:
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        flags = mmap.MAP_PRIVATE | MAP_FIXED | (mmap.MAP_ANONYMOUS if fd < 0 else 0)
        if _libc.mmap(self.host + at, length, protection, flags, fd, offset) != self.host + at:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        if fd < 0 and self._huge:  # which the host has forgotten with the old mapping
            self._want_huge_pages(at, length)

    def give_back(self, start: int, length: int) -> None:
        """Give the host back the whole pages of ``length`` bytes from ``start`` on, whose content
        nobody needs: they are zero from now on, but for those of frozen memory, which `thaw` has to
        find again, and of ``followed`` memory: these stay as they are."""
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        last = (start + length) // mmap.PAGESIZE * mmap.PAGESIZE
        if first >= last or self._frozen or self.followed:
            return
        if not self._adopted:
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)
            return
        try:
            self._remap(first, last - first, -1, 0)
        except OSError:  # there are too many mappings
            self.bytes[first:last] = bytes(last - first)

    def close(self) -> None:
        """Give the memory back at once. Idempotent.

        Whoever still holds a view of it finds zeros.
        """
        self.bytes.release()
        if (fd := self._let_go()) >= 0:
            os.close(fd)
        if not self._map.closed:
            self.clear()
            with suppress(BufferError):  # then the last view to go takes the addresses with it
                self._map.close()


def _fill(fd: int, end: int, buffers: list[memoryview]) -> None:
    """Read the bytes of a file that come before ``end`` into buffers, in order. Raises OSError."""
    left = sum(len(each) for each in buffers)
    while left:
        count = os.preadv(fd, buffers, end - left)
        if count == 0:
            raise OSError(errno.EIO, "the file ends too early")
        left -= count
        while buffers and count >= len(buffers[0]):
            count -= len(buffers.pop(0))
        if count:
            buffers[0] = buffers[0][count:]


def _joined(pages: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Pages that follow each other as one, with the offset of the first; at most a MiB of them."""
    start, run = 0, list[bytes]()
    for number, page in pages:
        if run and (number != start + len(run) or len(run) == MIB // PAGE_SIZE):
            yield start * PAGE_SIZE, b"".join(run)
            run.clear()
        if not run:
            start = number
        run.append(page)
    if run:
        yield start * PAGE_SIZE, b"".join(run)


def host_address(view: memoryview) -> int:
    """The address in this process of the first byte of ``view``, which is writable and not
    empty."""
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


def host_memory() -> int:
    """Bytes of the host's memory, in whole MiB."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB * MIB
