"""Images of other programs' formats, made and read by QEMU."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from bimetal.backends.block.choose import open_disk
from tests.host import programs

__all__ = ["KINDS", "make", "needs_qemu", "pattern", "qemu_content", "refusal_of_qemu", "shown"]

needs_qemu = programs("qemu-img", "qemu-io")

KINDS = {
    "vdi": ("vdi", ""),
    "vdi, fixed": ("vdi", "static=on"),
    "vhd": ("vpc", ""),
    "vhd of any size": ("vpc", "force_size=on"),
    "vhd, fixed": ("vpc", "subformat=fixed"),
    "vhd, fixed, of any size": ("vpc", "subformat=fixed,force_size=on"),
    "vhdx": ("vhdx", ""),
    "vhdx, fixed": ("vhdx", "subformat=fixed"),
    "vhdx, blocks of 1M": ("vhdx", "block_size=1M"),
    "vhdx without zeroes": ("vhdx", "block_state_zero=off,block_size=1M"),
    "vmdk": ("vmdk", ""),
    "vmdk with zeroed grains": ("vmdk", "zeroed_grain=on"),
    "vmdk for transport": ("vmdk", "subformat=streamOptimized"),
    "vmdk in flat parts": ("vmdk", "subformat=twoGbMaxExtentFlat"),
    "vmdk in sparse parts": ("vmdk", "subformat=twoGbMaxExtentSparse"),
    "vmdk, flat": ("vmdk", "subformat=monolithicFlat"),
}
"""Format and options of every kind of image that QEMU makes."""

MIB = 1 << 20


def pattern(size: int, seed: int) -> bytes:
    """Noise here and there, zeroes between."""
    rng = random.Random(seed)
    data = bytearray(size)
    for _ in range(size >> 16):
        start = rng.randrange(size // 512) * 512
        stop = min(size, start + rng.choice((512, 4096, 70_000 // 512 * 512)))
        data[start:stop] = rng.randbytes(stop - start)
    return bytes(data)


def make(kind: str, source: Path, folder: Path) -> Path:
    """An image of the ``kind`` with the content of the raw image ``source``."""
    format, options = KINDS[kind]
    path = folder / f"disk.{format}"
    chosen = ["-o", options] if options else []
    command = ["qemu-img", "convert", "-f", "raw", "-O", format, *chosen, str(source), str(path)]
    subprocess.run(command, check=True, timeout=120)
    return path


def shown(path: Path, **options: str) -> bytes:
    """What the disk in an image shows to us."""
    disk = open_disk(str(path), readonly=True, format=options.get("format"))
    try:
        return disk.read(0, disk.size)
    finally:
        disk.close()


def qemu_content(path: Path, format: str) -> bytes:
    """What it shows to QEMU."""
    raw = path.with_name("seen.raw")
    command = ["qemu-img", "convert", "-f", format, "-O", "raw", str(path), str(raw)]
    subprocess.run(command, check=True, timeout=120)
    return raw.read_bytes()


def refusal_of_qemu(path: Path, format: str) -> str:
    """What QEMU says to an image that it does not open."""
    command = ["qemu-img", "convert", "-f", format, "-O", "raw", str(path), "/dev/null"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    return done.stderr
