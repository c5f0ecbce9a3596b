"""What a file given as a kernel really holds: through all that kernels are packed in.

A kernel may be compressed, in EFI zboot, in one of U-Boot's images, or in several of these, one in
the other. What comes out is a kernel that some loader knows, and what was packed with it.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.log import logger
from bimetal.firmware.compression import compression_of, decompress
from bimetal.firmware.devicetree import text_of
from bimetal.firmware.efi_zboot import is_zboot, zboot_payload
from bimetal.firmware.fit import Fit
from bimetal.firmware.flat_tree import is_flat_tree, read_tree
from bimetal.firmware.uimage import UImageType, is_uimage, read_uimage

__all__ = [
    "Target",
    "Unpacked",
    "is_packed",
    "plain_ramdisk",
    "unpack",
    "unpack_for_firmware",
]

DEEPEST = 8
"""Layers of packing; more is an attack."""
LARGEST_TREE = 16 << 20
MORE_MEMORY = "give the machine more memory, or get the file anew if it should be smaller"


class Target(Struct, frozen=True):
    """The machine as U-Boot's images name it: a name for people, numbers and names of its
    architecture, and the ``compatible`` of its board."""

    name: str
    numbers: tuple[int, ...]
    names: tuple[str, ...]
    compatible: str


class Unpacked(Struct, frozen=True):
    """A kernel and what came with it.

    ``load`` and ``entry`` are where its packing wants it; without ``load`` that may be anywhere,
    and ``entry`` counts from there. ``ramdisk`` and ``device_trees`` (the first one whole, the
    others overlays) are what was packed beside it.
    """

    data: bytes
    load: int | None = None
    entry: int | None = None
    ramdisk: bytes | None = None
    device_trees: tuple[bytes, ...] = ()


def is_packed(data: bytes) -> bool:
    """Whether a file that begins like ``data`` is one that `unpack` has something to do with."""
    kinds = (is_zboot, is_uimage, is_flat_tree)
    return bool(compression_of(data)) or any(is_kind(data) for is_kind in kinds)


def unpack(data: bytes, name: str, target: Target, limit: int) -> Unpacked:
    """The kernel in ``data`` for ``target``, of ``limit`` bytes at most.

    Raises `BimetalError` that calls the file ``name``.
    """
    found = Unpacked(data)
    for _ in range(DEEPEST):
        if compression_of(found.data):
            found = replace(found, data=decompress(found.data, name, limit, MORE_MEMORY))
        elif is_zboot(found.data):
            found = replace(found, data=zboot_payload(found.data, name))
        elif is_uimage(found.data):
            found = _from_uimage(found, name, target)
        elif is_flat_tree(found.data):
            found = _from_fit(found, name, target)
        else:
            return found
    raise BimetalError(
        f"{name} is packed in more than {DEEPEST} layers", "unpack it first", ExitCode.DATA
    )


def unpack_for_firmware(data: bytes, name: str, limit: int) -> bytes:
    """The kernel in ``data``, decompressed for firmware, which itself knows all other packings.

    Raises `BimetalError` that calls it ``name``.
    """
    plain = decompress(data, name, limit, MORE_MEMORY)
    if is_zboot(plain):
        return decompress(zboot_payload(plain, name), name, limit, MORE_MEMORY)
    return plain


def plain_ramdisk(data: bytes, name: str) -> bytes:
    """The ramdisk ``data`` without the header that U-Boot wants. Raises `BimetalError`."""
    if not is_uimage(data):
        return data
    image = read_uimage(data, name)
    if image.kind != UImageType.RAMDISK:
        raise _wrong(name, image.kind)
    return image.files[0]


def _from_uimage(packed: Unpacked, name: str, target: Target) -> Unpacked:
    image = read_uimage(packed.data, name)
    if image.kind not in (
        UImageType.STANDALONE,
        UImageType.KERNEL,
        UImageType.MULTI,
        UImageType.FIRMWARE,
        UImageType.KERNEL_ANYWHERE,
    ):
        raise _wrong(name, image.kind)
    if image.architecture not in target.numbers:
        raise _foreign(name, f"architecture {image.architecture} of U-Boot", target)
    anywhere = image.kind == UImageType.KERNEL_ANYWHERE
    ramdisk = image.files[1] if len(image.files) > 1 else packed.ramdisk
    return Unpacked(
        image.files[0],
        None if anywhere else image.load,
        image.entry,
        ramdisk or None,
        image.files[2:3] or packed.device_trees,
    )


def _from_fit(packed: Unpacked, name: str, target: Target) -> Unpacked:
    fit = Fit(packed.data, name)
    if fit.is_plain_tree:
        raise BimetalError(
            f"{name} is a device tree, no kernel",
            "give it as the device tree (--dtb)",
            ExitCode.DATA,
        )
    configuration = fit.configuration(target.compatible)
    kernels = fit.images(configuration, "kernel") or fit.images(configuration, "firmware")
    if not kernels:
        raise BimetalError(
            f"{name} has no kernel in its configuration {configuration.name}",
            "name a default configuration with a kernel in its source",
            ExitCode.DATA,
        )
    kernel = kernels[0]
    if kernel.architecture and kernel.architecture not in target.names:
        raise _foreign(name, kernel.architecture, target)
    ramdisks = fit.images(configuration, "ramdisk")
    trees = [
        decompress(image.data, f"{image.name} in {name}", LARGEST_TREE)
        for image in fit.images(configuration, "fdt")
    ]
    return Unpacked(
        kernel.data,
        kernel.load,
        kernel.entry,
        ramdisks[0].data if ramdisks else packed.ramdisk,
        _trees_for(target, trees, name) or packed.device_trees,
    )


def _trees_for(target: Target, trees: list[bytes], name: str) -> tuple[bytes, ...]:
    """The device trees of an image, if they are of this board: others tell of other hardware."""
    if not trees or not target.compatible:
        return ()
    compatible = read_tree(trees[0], f"the device tree in {name}").root.properties.get("compatible")
    if isinstance(compatible, bytes) and target.compatible.encode() in compatible.split(b"\0"):
        return tuple(trees)
    logger("loader").warning(
        "%s has a device tree for another board (%s); the machine's own is used",
        name,
        text_of(compatible) or "without a name",
    )
    return ()


def _wrong(name: str, kind: int) -> BimetalError:
    try:
        what = UImageType(kind).name.lower().replace("_", " ")
    except ValueError:
        what = f"type {kind}"
    return BimetalError(
        f"{name} is a U-Boot image of another kind ({what})",
        "give the kernel as kernel and the ramdisk as initrd",
        ExitCode.DATA,
    )


def _foreign(name: str, found: str, target: Target) -> BimetalError:
    return BimetalError(
        f"{name} is for another processor ({found})",
        f"give one for {target.name}, or choose another board",
        ExitCode.DATA,
    )
