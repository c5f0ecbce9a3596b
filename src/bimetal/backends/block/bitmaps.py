"""Dirty bitmaps: which parts of a disk have changed since a moment, for incremental backups."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from bimetal.backends.block.threshold import Passed, Threshold
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.threads import Lock

__all__ = [
    "GRANULARITIES",
    "NAME_LIMIT",
    "Bitmaps",
    "DirtyBitmap",
    "Marks",
    "default_granularity",
    "fits",
    "runs_of",
]

GRANULARITIES = range(9, 32)
"""Powers of two that the bytes of a granule may be (QEMU's docs/interop/qcow2.txt, Bitmap directory
entry)."""

NAME_LIMIT = 1023
"""Bytes of a name in UTF-8, likewise."""

BITS_LIMIT = 256 << 20
"""Bytes that a bitmap may take in memory."""

MEMORY_LIMIT = 1 << 30
"""Bytes that all bitmaps of an image may take in memory when one is added, or they are read."""

COUNT_LIMIT = 65535

_SET, _CLEAR = re.compile(rb"[^\0]"), re.compile(rb"[^\xff]")


def default_granularity(cluster: int | None) -> int:
    """Bytes of a granule where nobody says it, of an image with such clusters, or without any."""
    return min(max(cluster or 64 << 10, 4 << 10), 64 << 10)


def length_of(size: int, granularity: int) -> int:
    """Bytes that a bitmap of such a disk takes."""
    return -(-size // (8 * granularity))


def fits(size: int, granularity: int, held: int) -> bool:
    """Whether there may be one more bitmap of that granularity, of a disk of ``size`` bytes, beside
    others that take ``held`` bytes of memory."""
    length = length_of(size, granularity)
    return length <= BITS_LIMIT and held + length <= MEMORY_LIMIT


class Marks(Struct, frozen=True):
    """What a dirty bitmap has marked of a disk of ``size`` bytes: a bit of ``bits`` for each
    granule."""

    bits: bytes
    granularity: int
    size: int

    def parts(self, start: int, stop: int) -> Iterator[tuple[int, bool]]:
        """How many bytes are alike, from ``start`` to ``stop``, and whether they are marked."""
        while start < stop:
            granule = start // self.granularity
            marked = bool(self.bits[granule >> 3] >> (granule & 7) & 1)
            other, usual = (_CLEAR, 0xFF) if marked else (_SET, 0)
            end = min(_next(self.bits, granule, other, usual) * self.granularity, stop)
            yield end - start, marked
            start = end


class DirtyBitmap:
    """Tells which granules of a disk of ``size`` bytes have changed: ``granularity`` bytes each, a
    power of two. It marks them while it is ``recording``. A ``persistent`` one is kept in the
    image. One that is ``inconsistent`` was not stored when it was last in use, and tells nothing.

    ``bits`` has a bit for each granule, from the low bit of the first byte on, as qcow2 stores it.
    """

    def __init__(
        self,
        name: str,
        size: int,
        granularity: int,
        *,
        persistent: bool = False,
        recording: bool = True,
        inconsistent: bool = False,
    ):
        self.name, self.granularity = name, granularity
        self.persistent, self.recording, self.inconsistent = persistent, recording, inconsistent
        self._size = size
        self._lent: bytearray | None = None
        """What it has marked before a job began that works with it."""
        self._served = 0
        """To how many it is shown as it is."""
        self._lock = Lock()
        self.bits = bytearray(0 if inconsistent else -(-self._granules // 8))

    @property
    def _granules(self) -> int:
        return -(-self._size // self.granularity)

    def mark(self, offset: int, length: int) -> None:
        """These bytes change."""
        if not length:
            return
        first, last = offset // self.granularity, (offset + length - 1) // self.granularity
        low, high = first >> 3, last >> 3
        head, tail = 0xFF << (first & 7) & 0xFF, 0xFF >> 7 - (last & 7)
        with self._lock:
            if low == high:
                self.bits[low] |= head & tail
                return
            self.bits[low] |= head
            self.bits[low + 1 : high] = b"\xff" * (high - low - 1)
            self.bits[high] |= tail

    def take(self) -> bytearray:
        """Have nothing marked; the ``bits`` until now."""
        with self._lock:
            taken, self.bits = self.bits, bytearray(len(self.bits))
        return taken

    @property
    def busy(self) -> bool:
        """Whether a job works with it, or clients are told what it marks: nobody else may change
        it."""
        return self._lent is not None or self._served > 0

    def serve(self) -> Marks:
        """It stays as it is until `unserve`: what it marks."""
        self._served += 1
        return Marks(self.told, self.granularity, self._size)

    def unserve(self) -> None:
        """See `serve`."""
        self._served -= 1

    def lend(self) -> None:
        """A job begins that works with what is marked; what changes from now on is marked anew."""
        self._lent = self.take()

    def give_back(self, *, valid: bool) -> None:
        """The job has ended: what was marked before is still ``valid``, or not."""
        lent, self._lent = self._lent, None
        if lent is not None and valid:
            self.put(lent)

    @property
    def told(self) -> bytes:
        """The bits of all that is marked, also of what was before a job began."""
        if self._lent is None:
            return bytes(self.bits)
        both = int.from_bytes(self.bits, "little") | int.from_bytes(self._lent, "little")
        return both.to_bytes(len(self.bits), "little")

    def put(self, bits: bytes | bytearray) -> None:
        """Have marked what ``bits`` of the same granularity mark, besides what is."""
        with self._lock:
            both = int.from_bytes(self.bits, "little") | int.from_bytes(bits, "little")
            self.bits[:] = both.to_bytes(len(self.bits), "little")

    def merge(self, other: DirtyBitmap) -> None:
        """Have marked what ``other`` marks, besides what is; of a disk as large."""
        if other.granularity == self.granularity:
            self.put(other.bits)
            return
        for offset, length in other.runs():
            self.mark(offset, length)

    def runs(self) -> Iterator[tuple[int, int]]:
        """Offset and length of what is marked, in order."""
        return runs_of(self.told, self.granularity, self._size)

    @property
    def count(self) -> int:
        """Bytes that are marked."""
        marked = int.from_bytes(self.told, "little").bit_count()
        return min(marked * self.granularity, self._size)

    def resize(self, size: int) -> None:
        """The disk has ``size`` bytes now. What is new is marked in one that is recording."""
        old, self._size = self._size, size
        if self.inconsistent:
            return
        needed = -(-self._granules // 8)
        del self.bits[needed:]
        self.bits += bytes(needed - len(self.bits))
        beyond = needed * 8 - self._granules
        if beyond:
            self.bits[-1] &= 0xFF >> beyond
        if self.recording and size > old:
            self.mark(old, size - old)


class Bitmaps:
    """The dirty bitmaps of an image of ``size`` bytes, by name."""

    def __init__(self, size: int):
        self.size = size
        self._all: dict[str, DirtyBitmap] = {}
        self._watching: dict[bool, Threshold | Passed] = {}
        self._thresholds: dict[bool, Threshold | None] = {}
        """Those of the disk, by False, and of the file of the image, by True."""
        self.recording: tuple[DirtyBitmap | Threshold | Passed, ...] = ()
        """Those that are to be told of changes."""

    def __iter__(self) -> Iterator[DirtyBitmap]:
        return iter([*self._all.values()])

    def __contains__(self, name: str) -> bool:
        return name in self._all

    def __getitem__(self, name: str) -> DirtyBitmap:
        """The bitmap of that name. Raises `BimetalError`."""
        if name not in self._all:
            there = ", ".join(map(repr, self._all)) or "none"
            raise BimetalError(
                f"there is no dirty bitmap {name[:80]!r}",
                f"there are {there[:400]}",
                ExitCode.USAGE,
            )
        return self._all[name]

    @property
    def persistent(self) -> bool:
        """Whether any of them is kept in the image."""
        return any(each.persistent for each in self._all.values())

    def add(self, bitmap: DirtyBitmap) -> None:
        """Have one more."""
        self._all[bitmap.name] = bitmap
        self.refresh()

    def remove(self, name: str) -> DirtyBitmap:
        """Forget one, which is returned."""
        bitmap = self._all.pop(name)
        self.refresh()
        return bitmap

    def record(self, name: str, on: bool) -> None:
        """Have one tell of changes from now on, or not."""
        self._all[name].recording = on
        self.refresh()

    def refresh(self) -> None:
        """Look again which are recording."""
        bitmaps = (each for each in self._all.values() if each.recording and not each.inconsistent)
        self.recording = (*bitmaps, *self._watching.values())

    def watch(
        self, threshold: Threshold | None, *, of_file: bool, told: Threshold | Passed | None
    ) -> None:
        """Have ``threshold``, in place of another one of the disk, or ``of_file``; and have
        ``told``, which serves it, told of changes, too."""
        self._thresholds[of_file] = threshold
        self._watching.pop(of_file, None)
        if told is not None:
            self._watching[of_file] = told
        self.refresh()

    def limit(self, *, of_file: bool) -> int:
        """The limit of that threshold, 0 for none."""
        threshold = self._thresholds.get(of_file)
        return 0 if threshold is None else threshold.limit

    def mark(self, offset: int, length: int) -> None:
        """These bytes of the disk change: before they do, this is called."""
        for each in self.recording:
            each.mark(offset, length)

    def resize(self, size: int) -> None:
        """The disk may have another size."""
        if size == self.size:
            return
        self.size = size
        for each in self._all.values():
            each.resize(size)

    def check_size(self, size: int) -> None:
        """Raise `BimetalError` unless the disk may have that size: a disk as large as a bitmap has
        no room in memory for is not marked."""
        held = 0
        for each in self._all.values():
            if each.inconsistent:
                continue
            if not fits(size, each.granularity, held):
                raise _wrong(
                    f"the dirty bitmap {each.name[:80]!r}, of a granularity of {each.granularity}, "
                    f"would be too much for a disk of {size} bytes",
                    "remove it, or those that are of no more use: block-dirty-bitmap-remove",
                )
            held += length_of(size, each.granularity)

    def check_new(self, name: str, granularity: int) -> None:
        """Raise `BimetalError` unless there can be one more of that name and granularity."""
        if not name or len(name.encode()) > NAME_LIMIT:
            raise _wrong(
                f"{name[:80]!r} is no name for a dirty bitmap", f"it has 1 to {NAME_LIMIT} bytes"
            )
        if name in self._all:
            raise _wrong(f"there is a dirty bitmap {name[:80]!r} already", "name another")
        if granularity not in {1 << power for power in GRANULARITIES}:
            raise _wrong(
                f"the granularity {granularity} is no power of two from 512 to {1 << 31}",
                "leave it away, or say 65536",
            )
        held = sum(len(each.bits) for each in self._all.values())
        if not fits(self.size, granularity, held) or len(self._all) >= COUNT_LIMIT:
            raise _wrong(
                f"one more dirty bitmap, of a granularity of {granularity}, is too much",
                "say a larger granularity, or remove those that are of no more use",
            )


def runs_of(bits: bytes | bytearray, granularity: int, size: int) -> Iterator[tuple[int, int]]:
    """Offset and length of what ``bits`` mark of a disk of ``size`` bytes, in order."""
    stop = len(bits) * 8
    first = _next(bits, 0, _SET, 0)
    while first < stop:
        last = _next(bits, first, _CLEAR, 0xFF)
        start = first * granularity
        yield start, min(last * granularity, size) - start
        first = _next(bits, last, _SET, 0)


def _next(bits: bytes | bytearray, at: int, other: re.Pattern[bytes], usual: int) -> int:
    """The first bit from ``at`` on that differs from those of the byte ``usual``, or the end."""
    byte, shift = divmod(at, 8)
    if byte >= len(bits):
        return len(bits) * 8
    found = (bits[byte] ^ usual) >> shift << shift
    if not found:
        match = other.search(bits, byte + 1)
        if match is None:
            return len(bits) * 8
        byte = match.start()
        found = bits[byte] ^ usual
    return byte * 8 + (found & -found).bit_length() - 1


def _wrong(cause: str, remedy: str) -> BimetalError:
    return BimetalError(cause, remedy, ExitCode.USAGE)
