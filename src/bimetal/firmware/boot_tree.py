"""What a machine writes into the device tree that its guest gets, whoever made the tree.

Source: Devicetree Specification, release 0.4, sections 3.4 ("/memory node") and 3.6 ("/chosen
node"); the Linux kernel's Documentation/devicetree/bindings/chosen.yaml.
"""

from __future__ import annotations

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import format_size
from bimetal.firmware.compression import decompress
from bimetal.firmware.devicetree import DeviceTree, Node, cells, text_of, words_of
from bimetal.firmware.flat_tree import read_tree
from bimetal.firmware.overlay import apply_overlay
from bimetal.firmware.program import Program, read_file

__all__ = ["add_overlay", "load_tree", "set_chosen", "set_memory", "unpacked_tree"]

LARGEST = 16 << 20
"""Bytes of a device tree; kernels map 2 MiB."""


def load_tree(path: str) -> DeviceTree:
    """The tree in the file at ``path``. Raises `BimetalError`."""
    return unpacked_tree(read_file(path, "device tree"), f"the device tree {path}")


def unpacked_tree(data: bytes, name: str) -> DeviceTree:
    """The tree in ``data``, compressed or not. Raises `BimetalError` naming ``name``."""
    return read_tree(decompress(data, name, LARGEST), name)


def add_overlay(tree: DeviceTree, path: str) -> None:
    """Change ``tree`` as the overlay in the file at ``path`` says. Raises `BimetalError`."""
    name = f"the overlay {path}"
    apply_overlay(tree, unpacked_tree(read_file(path, "overlay"), name), name)


def set_memory(tree: DeviceTree, start: int, size: int) -> None:
    """Make the tree describe ``size`` bytes of memory at ``start``, and no other memory.

    Raises `BimetalError` if the cells of its addresses are too few.
    """
    name = f"memory@{start:x}"
    nodes = [node for node in tree.root.children if _is_memory(node)]
    node = next((node for node in tree.root.children if node.name == name), None)
    if node is None:
        node = tree.root.add(Node(name, nodes[0].properties if nodes else {}))
    for other in nodes:
        if other is not node:
            tree.root.remove(other)
    node["device_type"] = b"memory\0"
    node["reg"] = _number(tree.root, "#address-cells", 2, start) + _number(
        tree.root, "#size-cells", 1, size
    )


def set_chosen(tree: DeviceTree, arguments: bytes, initrd: Program | None, seed: bytes) -> None:
    """Tell the kernel its command line, unless that is empty and the tree has one; where its
    initial file system is; and some randomness, if there is any."""
    chosen = tree.root.child("chosen") or tree.root.add(Node("chosen"))
    if arguments or "bootargs" not in chosen.properties:
        chosen["bootargs"] = arguments + b"\0"
    for name in ("linux,initrd-start", "linux,initrd-end", "rng-seed"):
        chosen.properties.pop(name, None)
    if seed:
        chosen["rng-seed"] = seed
    if initrd is not None:
        chosen["linux,initrd-start"] = cells(initrd.start)
        chosen["linux,initrd-end"] = cells(initrd.end)


def _is_memory(node: Node) -> bool:
    kind = text_of(node.properties.get("device_type"))
    return kind == "memory" or (not kind and node.name.split("@")[0] == "memory")


def _number(root: Node, cells_name: str, default: int, value: int) -> bytes:
    count = next(iter(words_of(root.properties.get(cells_name))), default)
    if not 1 <= count <= 4 or value >> 32 * count:
        raise BimetalError(
            f"the device tree cannot tell of {format_size(value)}: its {cells_name} is {count}",
            f"give it {cells_name} of 2",
            ExitCode.DATA,
        )
    return value.to_bytes(4 * count, "big")
