"""Kinds of images, each made by qemu-img and by us of the same bytes."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from bimetal import images
from bimetal.backends.block.choose import open_disk
from tests.backends.block.qcow2.qemu import img

KIB, MIB = 1 << 10, 1 << 20

CLUSTERS = [1 << bits for bits in range(9, 22)]
WIDTHS = [1, 2, 4, 8, 16, 32, 64]


@dataclass(frozen=True)
class Recipe:
    """A qcow2 image with these options of creation; ``below`` are the images that it lies on, from
    the top down: raw or qcow2."""

    options: dict[str, str] = field(default_factory=dict)
    compress: bool = False
    snapshots: int = 0
    bitmaps: int = 0
    below: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = [f"{name}={value}" for name, value in self.options.items()]
        words += ["compressed"] * self.compress
        words += [f"snapshots={self.snapshots}"] * bool(self.snapshots)
        words += [f"bitmaps={self.bitmaps}"] * bool(self.bitmaps)
        return ",".join([*words, *(f"over-{format}" for format in self.below)]) or "plain"

    @property
    def size(self) -> int:
        """Bytes of the disk: enough for some clusters, and no multiple of one."""
        cluster = int(self.options.get("cluster_size", 65536))
        return min(max(cluster * 5, 150 * KIB), 9 * MIB) + 3 * 512


def recipes() -> Iterator[Recipe]:
    """All of them: more than 200."""
    for cluster in CLUSTERS:
        size = {"cluster_size": str(cluster)}
        yield Recipe(size)
        yield Recipe(size, compress=True)
        yield Recipe(size | {"compression_type": "zstd"}, compress=True)
        yield Recipe(size, snapshots=2)
        yield Recipe(size, compress=True, snapshots=1)
        yield Recipe(size, bitmaps=2)
        yield Recipe(size, below=("raw",))
        yield Recipe(size | {"compat": "0.10"}, snapshots=1)
        yield Recipe(size | {"preallocation": "metadata"})
        yield Recipe(size | {"data_file": "outside.data"})
        yield Recipe(size | {"data_file": "outside.data", "data_file_raw": "on"})
    for width in WIDTHS:
        bits = {"refcount_bits": str(width)}
        yield Recipe(bits)
        yield Recipe(bits | {"cluster_size": "512"}, compress=True)
        yield Recipe(bits | {"cluster_size": "4096"}, snapshots=int(width > 1))
        yield Recipe(bits | {"lazy_refcounts": "on"}, below=("qcow2", "raw"))
    for cluster in CLUSTERS[5:]:
        extended = {"cluster_size": str(cluster), "extended_l2": "on"}
        yield Recipe(extended)
        yield Recipe(extended, compress=True)
        yield Recipe(extended, snapshots=2)
        yield Recipe(extended, below=("raw",))
        yield Recipe(extended, below=("qcow2",), snapshots=1, bitmaps=1)
        yield Recipe(extended | {"preallocation": "metadata"})
    for cluster in (512, 4096, 65536):
        size = {"cluster_size": str(cluster)}
        yield Recipe(size, below=("qcow2", "qcow2", "raw"))
        yield Recipe(size | {"compat": "0.10"}, below=("qcow2", "raw"))
        yield Recipe(size, below=("qcow2", "raw"), snapshots=2)
        yield Recipe(size, compress=True, below=("raw",))


def bytes_of(rng: random.Random, size: int) -> bytes:
    """Bytes of a disk: some that compress, some that do not, some that are zero."""
    content = bytearray()
    while len(content) < size:
        length = rng.choice((512, 4096, 20 * KIB, 70 * KIB, 300 * KIB))
        kind = rng.randrange(3)
        if kind == 0:
            content += bytes(length)
        elif kind == 1:
            content += rng.randbytes(length)
        else:
            content += rng.randbytes(8) * (length // 8)
    return bytes(content[:size])


@dataclass
class Made:
    """An image that was made, and what its disk shows."""

    path: Path
    content: bytes


def by_qemu(recipe: Recipe, folder: Path, seed: int) -> Made:
    """The image as qemu-img makes it."""
    return _make(recipe, folder, seed, ours=False)


def by_us(recipe: Recipe, folder: Path, seed: int) -> Made:
    """The same as we make it."""
    return _make(recipe, folder, seed, ours=True)


def _make(recipe: Recipe, folder: Path, seed: int, *, ours: bool) -> Made:
    rng = random.Random(seed)
    folder.mkdir()
    content = bytes_of(rng, recipe.size)
    lowest = folder / "source.raw"
    lowest.write_bytes(content)
    chain = _chain(recipe, folder, lowest)
    options = dict(recipe.options)
    if "data_file" in options:
        options["data_file"] = str(folder / options["data_file"])
    path = folder / "image.qcow2"
    source, source_format = lowest, "raw"
    if chain:
        # What the image itself has is some clusters that differ.
        changed = bytearray(content)
        for _ in range(4):
            at = rng.randrange(recipe.size // 512) * 512
            piece = rng.randbytes(512 * 9)[: recipe.size - at]
            changed[at : at + len(piece)] = piece
        content = bytes(changed)
        source = folder / "changed.raw"
        source.write_bytes(content)
        options |= {"backing_file": chain[0].name, "backing_fmt": _format(chain[0])}
    if ours:
        images.convert(
            [str(source)],
            str(path),
            format=source_format,
            target_format="qcow2",
            compress=recipe.compress,
            options=options,
        )
    else:
        words = ["-o", ",".join(f"{name}={value}" for name, value in options.items())]
        compress = ["-c"] if recipe.compress else []
        img(
            "convert", *compress, "-f", source_format, "-O", "qcow2",
            *(words if options else []), source, path,
        )  # fmt: skip
    return Made(path, _history(recipe, path, content, rng, ours=ours))


def _chain(recipe: Recipe, folder: Path, lowest: Path) -> list[Path]:
    """The images below, the uppermost first. They show the bytes of the lowest."""
    chain: list[Path] = []
    for number, format in enumerate(reversed(recipe.below)):
        if format == "raw":
            chain.append(lowest)
            continue
        path = folder / f"below{number}.qcow2"
        if chain:
            below = chain[-1]
            img("create", "-q", "-f", "qcow2", "-F", _format(below), "-b", below.name, path)
        else:
            img("convert", "-f", "raw", "-O", "qcow2", lowest, path)
        chain.append(path)
    return chain[::-1]


def _format(path: Path) -> str:
    return "qcow2" if path.suffix == ".qcow2" else "raw"


def _history(
    recipe: Recipe, path: Path, content: bytes, rng: random.Random, *, ours: bool
) -> bytes:
    """Snapshots and bitmaps, and writes between them; what the disk shows after that."""
    shown = bytearray(content)
    for number in range(recipe.bitmaps):
        img("bitmap", "--add", path, f"bitmap {number}")
    for number in range(recipe.snapshots):
        if ours:
            images.create_snapshot(str(path), f"snapshot {number}")
        else:
            img("snapshot", "-c", f"snapshot {number}", path)
        at = rng.randrange(recipe.size // 512) * 512
        piece = bytes((number + 1,)) * min(3 * 512, recipe.size - at)
        if ours:
            with closing(open_disk(str(path))) as disk:
                disk.write(at, piece)
        else:
            command = f"write -P {number + 1} {at} {len(piece)}"
            subprocess.run(
                ["qemu-io", "-f", "qcow2", "-c", command, path], check=True, capture_output=True
            )
        shown[at : at + len(piece)] = piece
    return bytes(shown)
