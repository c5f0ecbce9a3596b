"""Damaged and hostile kernels, trees and overlays: an error for the user, no more."""

from __future__ import annotations

import contextlib
import functools
import gzip
import lzma
import random
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimetal.base.errors import BimetalError
from bimetal.firmware.devicetree import Node
from bimetal.firmware.elf import load_elf
from bimetal.firmware.flat_tree import flatten, read_tree
from bimetal.firmware.linux_image import load_linux_image
from bimetal.firmware.linux_x86 import load_bzimage
from bimetal.firmware.overlay import apply_overlay
from bimetal.firmware.processors import RISCV
from bimetal.firmware.pvh import load_pvh
from bimetal.firmware.unpack import unpack
from tests.firmware.elves import RAM, Part, elf, room
from tests.firmware.images import image, uimage, zboot
from tests.firmware.test_x86 import bzimage, pc
from tests.kvm_bed.hello import hello_kernel

ROOM, PC = room(1 << 20), pc()
LIMIT = 1 << 20


def independent() -> bytes:
    """A position-independent program with a table of relocations."""
    content = bytes(64) + struct.pack("<QQq", 32, 3, 8) * 3
    content += struct.pack("<10Q", 7, 64, 8, 72, 9, 24, 5, 0, 0, 0)
    data = bytearray(elf(Part(0, content), Part(0, kind=2), Part(0, kind=3), entry=0, kind=3))
    at, head = len(content) - 80, 64 + 3 * 56
    struct.pack_into("<QQQQQ", data, 64 + 56 + 8, head + at, at, at, 80, 80)
    return bytes(data)


def image_tree() -> bytes:
    root = Node("")
    images = root.add(Node("images"))
    kernel = images.add(Node("kernel-1", {"arch": "riscv", "load": 0x8020_0000}))
    kernel["data"], kernel["entry"] = gzip.compress(image()), 0x8020_0000
    images.add(Node("fdt-1", {"data": flatten(Node("", {"compatible": "riscv-virtio"}))}))
    images.add(Node("rd", {"data-offset": 0, "data-size": 4}))
    names = {"kernel": "kernel-1", "fdt": "fdt-1", "ramdisk": "rd"}
    root.add(Node("configurations", {"default": "c"})).add(Node("c", names))
    tree = flatten(root)
    return tree.ljust(len(tree) + 3 & -4, b"\0") + b"disk"


def base() -> Node:
    root = Node("", {"a": 1})
    soc = root.add(Node("soc", {"phandle": 1}))
    root.add(Node("user", {"to": soc}))
    root.add(Node("__symbols__", {"soc": "/soc"}))
    root.add(Node("aliases", {"s": "/soc"}))
    return root


def overlay() -> bytes:
    root = Node("")
    contents = root.add(Node("fragment@0", {"target": 0xFFFF_FFFF})).add(Node("__overlay__"))
    contents.add(Node("new", {"phandle": 1, "x": 1}))
    root.add(Node("__fixups__", {"soc": "/fragment@0:target:0"}))
    places = root.add(Node("__local_fixups__")).add(Node("fragment@0")).add(Node("__overlay__"))
    places.add(Node("new", {"x": 0}))
    root.add(Node("__symbols__", {"new": "/fragment@0/__overlay__/new"}))
    return flatten(root)


def overlaid(blob: bytes) -> None:
    tree = read_tree(flatten(base()), "the tree")
    apply_overlay(tree, read_tree(blob, "the overlay"), "the overlay")
    flatten(tree)


TARGETS: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "elf": (
        elf(Part(RAM, size=64), Part(RAM + 0x1000, flags=6)),
        lambda data: load_elf(data, "x", RISCV.machine, ROOM, home=RAM),
    ),
    "pie": (independent(), lambda data: load_elf(data, "x", RISCV.machine, ROOM, home=RAM)),
    "pvh": (hello_kernel(), lambda data: load_pvh(data, "x", PC)),
    "image": (image(), lambda data: load_linux_image(data, RISCV.image, "x", RAM)),
    "bzImage": (bytes(bzimage()), lambda data: load_bzimage(data, "x")),
    "uImage": (uimage(gzip.compress(image())), lambda data: unpack(data, "x", RISCV.target, LIMIT)),
    "files": (
        uimage(gzip.compress(image()), b"disk", kind=4),
        lambda data: unpack(data, "x", RISCV.target, LIMIT),
    ),
    "zboot": (zboot(lzma.compress(image())), lambda data: unpack(data, "x", RISCV.target, LIMIT)),
    "fit": (image_tree(), lambda data: unpack(data, "x", RISCV.target, LIMIT)),
    "tree": (flatten(base()), lambda data: flatten(read_tree(data, "x"))),
    "overlay": (overlay(), overlaid),
}
every = pytest.mark.parametrize("kind", TARGETS)


@every
def test_what_is_damaged_is_sound(kind: str) -> None:
    good, use = TARGETS[kind]
    use(good)


@every
def test_it_may_be_cut_anywhere(kind: str) -> None:
    good, use = TARGETS[kind]
    for length in range(min(len(good), 1500)):
        with contextlib.suppress(BimetalError):
            use(good[:length])


@every
@settings(max_examples=150)
@given(noise=st.binary(max_size=16), at=st.floats(0, 1), cut=st.floats(0, 2))
def test_noise_does_no_harm(kind: str, noise: bytes, at: float, cut: float) -> None:
    good, use = TARGETS[kind]
    start = int(at * min(len(good), 1500))
    data = good[:start] + noise + good[start + len(noise) :]
    with contextlib.suppress(BimetalError):
        use(data[: int(cut * len(data))] if cut < 1 else data)


WORDS = [0, 1, 2, 3, 4, 9, 16, 17, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 1 << 16, 1 << 30, (1 << 31) - 1,
         1 << 31, (1 << 32) - 1, 1 << 40, 1 << 62, 1 << 63, (1 << 64) - 1]  # fmt: skip


@every
def test_hostile_numbers_do_no_harm(kind: str) -> None:
    good, use = TARGETS[kind]
    chance = random.Random(kind)
    changed = functools.partial(_changed, good, chance)
    for _ in range(1000):
        with contextlib.suppress(BimetalError):
            use(changed())


def _changed(good: bytes, chance: random.Random) -> bytes:
    data = bytearray(good)
    for _ in range(chance.randrange(1, 4)):
        width = chance.choice([1, 2, 4, 8])
        order = chance.choice(["<", ">"])
        at = chance.randrange(min(len(data), 800) - 8) & -chance.choice([1, 2, 4, 8])
        value = chance.choice([*WORDS, chance.randrange(1 << 64), RAM, len(good)])
        letter = {1: "B", 2: "H", 4: "I", 8: "Q"}[width]
        struct.pack_into(order + letter, data, at, value & ((1 << 8 * width) - 1))
    return bytes(data)
