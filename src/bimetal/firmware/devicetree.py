"""Device trees: nodes, properties and references, written as a flattened blob.

    soc = root.add(Node("soc", {"#address-cells": 2, "#size-cells": 2, "ranges": None}))
    plic = soc.add(Node("plic@c000000", {"interrupt-controller": None}))
    soc.add(Node("serial@10000000", {"interrupt-parent": plic, "interrupts": 10}))

A node as a value, or among cells, is a reference: it becomes the node's phandle. The format is
that of the Devicetree Specification, release 0.4, chapter 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import fdt

__all__ = ["Node", "Property", "cells", "flatten"]


class Node:
    """A node with properties and children, in the order in which they were added."""

    def __init__(self, name: str, properties: Mapping[str, Property] | None = None):
        self.name = name
        self.properties: dict[str, Property] = dict(properties or {})
        self.children: list[Node] = []
        self.parent: Node | None = None

    def add(self, child: Node) -> Node:
        """Append ``child`` and return it. ValueError if there is one of its name."""
        if any(child.name == other.name for other in self.children):
            raise ValueError(f"{self.path} has two children called {child.name}")
        child.parent = self
        self.children.append(child)
        return child

    def __setitem__(self, name: str, value: Property) -> None:
        self.properties[name] = value

    def __getitem__(self, name: str) -> Property:
        return self.properties[name]

    @property
    def path(self) -> str:
        """The node's place in the tree, as ``/soc/serial@10000000``."""
        if self.parent is None:
            return "/"
        return f"{self.parent.path.rstrip('/')}/{self.name}"

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


Property = None | int | str | bytes | Node | Sequence[int | Node] | Sequence[str]
"""Nothing but its name, a cell, a string, bytes, a reference, cells, or strings."""


def cells(*values: int) -> tuple[int, ...]:
    """Numbers of 64 bits as two cells each: addresses and sizes where #address-cells is 2."""
    return tuple(half for value in values for half in (value >> 32, value & 0xFFFF_FFFF))


def flatten(root: Node, boot_cpu: int = 0) -> bytes:
    """The tree below ``root`` as a blob of version 17."""
    phandles = _phandles(root)
    tree: Any = fdt.FDT()
    tree.header.boot_cpuid_phys = boot_cpu
    tree.root = _convert(root, phandles)
    blob: bytes = tree.to_dtb(17)
    return blob


def _phandles(root: Node) -> dict[Node, int]:
    """A number for each node that another one refers to, in the order of the tree."""
    wanted = {
        target
        for node in root.walk()
        for value in node.properties.values()
        for target in (value if isinstance(value, Sequence) else (value,))
        if isinstance(target, Node)
    }
    nodes = [node for node in root.walk() if node in wanted]
    if len(nodes) < len(wanted):
        lost = next(iter(wanted.difference(nodes)))
        raise ValueError(f"a reference to {lost.name}, which is not in the tree")
    return {node: number for number, node in enumerate(nodes, start=1)}


def _convert(node: Node, phandles: Mapping[Node, int]) -> Any:
    converted = fdt.Node("/" if node.parent is None else node.name)
    for name, value in node.properties.items():
        converted.append(_property(name, value, phandles))
    if node in phandles:
        converted.append(fdt.PropWords("phandle", phandles[node]))
    for child in node.children:
        converted.append(_convert(child, phandles))
    return converted


def _property(name: str, value: Property, phandles: Mapping[Node, int]) -> Any:
    if value is None:
        return fdt.Property(name)
    if isinstance(value, bytes):
        return fdt.PropBytes(name, data=value)
    values = (value,) if isinstance(value, int | str | Node) else value
    # As bytes, because the library takes neither an empty string nor one beyond ASCII.
    texts = [text.encode() + b"\0" for text in values if isinstance(text, str)]
    if texts:
        return fdt.PropBytes(name, data=b"".join(texts))
    words = [phandles[each] if isinstance(each, Node) else each for each in values]
    return fdt.PropWords(name, *words)
