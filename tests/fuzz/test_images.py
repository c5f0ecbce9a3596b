"""Damaged images of every format that is read: an error for the user, or an I/O error for the
guest, in bounded memory. Sound ones, damaged in a few places, in and between their tables.

``pytest -m slow tests/fuzz/test_images.py`` tries 100,000 of each kind.
"""

from __future__ import annotations

import contextlib
import os
import random
import struct
import subprocess
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest

from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.foreign.crc32c import crc32c
from bimetal.base.errors import BimetalError
from tests.host import programs

pytestmark = programs("qemu-img")

MIB = 1 << 20
QUICK, LONG = 40, 100_000

MEMORY = 64 * MIB
"""Bytes of memory that opening and reading may take, whatever the image says."""

MEASURED = 50
"""Memory is measured at one trial of so many: that takes time."""

EXTENTS = 1000

NUMBERS = [
    0, 1, 2, 3, 0x7F, 0xFF, 0x200, 0xFFFF, 1 << 16, 1 << 20, 1 << 31, (1 << 32) - 2, (1 << 32) - 1,
    1 << 40, 1 << 62, 1 << 63, (1 << 64) - 1,
]  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """Format and options for qemu-img; bytes of the disk; where its tables are: ranges of the file,
    of which those below 0 count from its end. ``mend`` makes checksums right again."""

    format: str
    options: str
    tables: tuple[tuple[int, int], ...]
    size: int = 2 * MIB
    mend: Callable[[int], None] = lambda fd: None
    description: str = ""


def mend_vhd(fd: int) -> None:
    length = os.lseek(fd, 0, os.SEEK_END)
    for place, size, at in ((0, 512, 64), (512, 1024, 36), (length - 512, 512, 64)):
        data = os.pread(fd, size, max(place, 0))
        if data.startswith((b"conectix", b"cxsparse")):
            total = sum(data) - sum(data[at : at + 4])
            os.pwrite(fd, struct.pack(">I", ~total & 0xFFFFFFFF), place + at)


def mend_vhdx(fd: int) -> None:
    for place, size in ((64 << 10, 4096), (128 << 10, 4096), (192 << 10, 65536)):
        data = bytearray(os.pread(fd, size, place))
        data[4:8] = bytes(4)
        os.pwrite(fd, struct.pack("<I", crc32c(bytes(data))), place + 4)


KINDS = {
    "vdi": Kind("vdi", "", ((0, 512), (512, 1024))),
    "vhd": Kind("vpc", "", ((0, 512), (512, 1536), (1536, 2560), (-512, 0)), mend=mend_vhd),
    "vhd, fixed": Kind("vpc", "subformat=fixed", ((-512, 0),), mend=mend_vhd),
    "vhdx": Kind(
        "vhdx", "block_size=1M",
        ((64 << 10, (64 << 10) + 80), (192 << 10, (192 << 10) + 80), (2 * MIB, 2 * MIB + 256),
         (2 * MIB + 65536, 2 * MIB + 65536 + 64), (3 * MIB, 3 * MIB + 64)),
        mend=mend_vhdx,
    ),
    "vmdk": Kind("vmdk", "", ((0, 80), (512, 1024), (20 * 512, 30 * 512))),
    "vmdk for transport": Kind(
        "vmdk", "subformat=streamOptimized", ((0, 80), (512, 1024), (65536, 70000), (-2048, 0))
    ),
    "vmdk, described": Kind("vmdk", "subformat=monolithicFlat", ((0, 400),)),
    "qcow2": Kind("qcow2", "cluster_size=4096", ((0, 120), (4096, 20480))),
    "qcow2, compressed": Kind("qcow2", "cluster_size=512", ((0, 120), (512, 8192))),
    "qcow2 with sub-clusters": Kind("qcow2", "extended_l2=on", ((0, 120), (65536, 65536 * 4))),
    "qcow2 with counts of 1 bit": Kind(
        "qcow2", "refcount_bits=1,cluster_size=4096", ((0, 120), (4096, 20480))
    ),
    "qcow2, old": Kind("qcow2", "compat=0.10,cluster_size=4096", ((0, 72), (4096, 20480))),
    "raw": Kind("raw", "", ((0, 512), (-512, 0))),
}  # fmt: skip


def make(kind: Kind, folder: Path) -> Path:
    source, path = folder / "source.raw", folder / f"disk.{kind.format}"
    data = bytearray(kind.size)
    data[: MIB // 2] = random.Random(1).randbytes(MIB // 16) * 8
    source.write_bytes(data)
    options = ["-o", kind.options] if kind.options else []
    packed = ["-c"] if "512" in kind.options and kind.format == "qcow2" else []
    order = ["qemu-img", "convert", "-f", "raw", "-O", kind.format, *packed, *options]
    subprocess.run([*order, str(source), str(path)], check=True, timeout=60)
    if kind.format == "qcow2" and "bits=1," not in kind.options:
        subprocess.run(["qemu-img", "snapshot", "-c", "first", str(path)], check=True, timeout=60)
    return path


class Damage:
    """Changes to the file ``fd``, which are undone."""

    def __init__(self, fd: int, kind: Kind, rng: random.Random):
        self._fd, self._kind, self._rng = fd, kind, rng
        self._length = os.lseek(fd, 0, os.SEEK_END)
        self._undo: list[tuple[int, bytes]] = []

    def do(self) -> None:
        rng = self._rng
        for _ in range(rng.choice((1, 1, 2, 4))):
            at = self._somewhere()
            width = rng.choice((1, 2, 4, 8))
            number = rng.choice((*NUMBERS, rng.getrandbits(64), self._length, self._length // 512))
            order = rng.choice(("little", "big"))
            data = (number & (1 << 8 * width) - 1).to_bytes(width, order)  # type: ignore[arg-type]
            if rng.random() < 0.2:
                (old,) = os.pread(self._fd, 1, at) or b"\\0"
                data = bytes((old ^ 1 << rng.randrange(8),))
            self._write(at, data[: max(self._length - at, 0)])
        if rng.random() < 0.6:
            self._mend()
        if rng.random() < 0.05:
            os.ftruncate(self._fd, rng.randrange(self._length))

    def undo(self) -> None:
        if os.lseek(self._fd, 0, os.SEEK_END) != self._length:
            raise AssertionError("it has another length")
        for at, data in reversed(self._undo):
            os.pwrite(self._fd, data, at)
        self._undo.clear()

    def _somewhere(self) -> int:
        if self._rng.random() < 0.1:
            return self._rng.randrange(self._length)
        start, stop = self._rng.choice(self._kind.tables)
        if start < 0:
            start, stop = self._length + start, self._length + stop
        return min(self._rng.randrange(start, stop), self._length - 1)

    def _write(self, at: int, data: bytes) -> None:
        self._undo.append((at, os.pread(self._fd, len(data), at)))
        os.pwrite(self._fd, data, at)

    def _mend(self) -> None:
        """Make the checksums right."""
        places = {
            "vpc": (64, 548, self._length - 448),
            "vhdx": (65540, 131076, 196612),
        }.get(self._kind.format, ())
        self._undo += [(at, os.pread(self._fd, 4, at)) for at in places]
        self._kind.mend(self._fd)


def use(path: Path, format: str) -> None:
    """Open the image, and read it here and there, as a guest does."""
    with contextlib.closing(open_disk(str(path), readonly=True, format=format)) as disk:
        size = disk.size
        for offset in {0, 65536 % size, size // 2 // 512 * 512, size - 512}:
            with contextlib.suppress(OSError):
                disk.read(offset, min(4096, size - offset))
        with contextlib.suppress(OSError):
            disk.read(0, min(size, MIB // 2))
        with contextlib.suppress(OSError):
            for extent in islice(disk.extents(0, size), EXTENTS):
                assert extent.length > 0


def fuzz(name: str, folder: Path, trials: int) -> None:
    kind, rng = KINDS[name], random.Random(f"{name} {trials}")
    path = make(kind, folder)
    use(path, kind.format)  # as it is, it is sound
    whole = path.read_bytes()
    before = len(os.listdir("/proc/self/fd"))
    with path.open("r+b", buffering=0) as file:
        damage = Damage(file.fileno(), kind, rng)
        for trial in range(trials):
            damage.do()
            measured = trial % MEASURED == 0
            if measured:
                tracemalloc.start()
            try:
                with contextlib.suppress(BimetalError):
                    use(path, kind.format)
                if measured:
                    assert tracemalloc.get_traced_memory()[1] < MEMORY
            finally:
                tracemalloc.stop()
            if file.seek(0, os.SEEK_END) != len(whole):
                file.truncate(len(whole))
                file.seek(0)
                file.write(whole)
            damage.undo()
    assert path.read_bytes() == whole, "nothing writes to what is only read"
    assert len(os.listdir("/proc/self/fd")) == before, "a descriptor was left open"


@pytest.mark.parametrize("name", KINDS)
def test_damaged_images(name: str, tmp_path: Path) -> None:
    fuzz(name, tmp_path, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_hundred_thousand_damaged_images(name: str, tmp_path: Path) -> None:
    fuzz(name, tmp_path, LONG)
