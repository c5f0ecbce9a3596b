"""Device trees: nodes, properties and references.

    soc = root.add(Node("soc", {"#address-cells": 2, "#size-cells": 2, "ranges": None}))
    plic = soc.add(Node("plic@c000000", {"interrupt-controller": None}))
    soc.add(Node("serial@10000000", {"interrupt-parent": plic, "interrupts": 10}))

A node as a value, or among cells, is a reference: it becomes the node's phandle. What properties
are in a blob is said by the Devicetree Specification, release 0.4, section 2.2.4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct, field

__all__ = ["DeviceTree", "Node", "Property", "cells", "encoded", "text_of", "words_of"]


class Node:
    """A node with properties and children, in the order in which they were added."""

    def __init__(self, name: str, properties: Mapping[str, Property] | None = None):
        self.name = name
        self.properties: dict[str, Property] = dict(properties or {})
        self.parent: Node | None = None
        self._children: dict[str, Node] = {}

    def add(self, child: Node) -> Node:
        """Append ``child`` and return it. ValueError if there is one of its name."""
        if child.name in self._children:
            raise ValueError(f"{self.path} has two children called {child.name}")
        child.parent = self
        self._children[child.name] = child
        return child

    def __setitem__(self, name: str, value: Property) -> None:
        self.properties[name] = value

    def __getitem__(self, name: str) -> Property:
        return self.properties[name]

    @property
    def children(self) -> tuple[Node, ...]:
        """The nodes directly below."""
        return tuple(self._children.values())

    @property
    def path(self) -> str:
        """The node's place in the tree, as ``/soc/serial@10000000``."""
        if self.parent is None:
            return "/"
        return f"{self.parent.path.rstrip('/')}/{self.name}"

    def child(self, name: str) -> Node | None:
        """The child of that name; where ``name`` has no unit address, the first with any (see the
        Devicetree Specification, 2.2.3)."""
        found = self._children.get(name)
        if found is None and "@" not in name:
            alike = (node for node in self._children.values() if node.name.startswith(f"{name}@"))
            found = next(alike, None)
        return found

    def remove(self, child: Node) -> None:
        """Take away a node directly below this one."""
        del self._children[child.name]

    def find(self, path: str) -> Node | None:
        """The node below this one at ``path``, as ``/soc/serial@10000000``."""
        node: Node | None = self
        for name in filter(None, path.split("/")):
            node = node.child(name) if node else None
        return node

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for child in self._children.values():
            yield from child.walk()


Property = None | int | str | bytes | Node | Sequence[int | Node] | Sequence[str]
"""Nothing but its name, a cell, a string, bytes, a reference, cells, or strings."""


class DeviceTree(Struct):
    """A whole tree: its ``root``, the physical memory that it keeps for others, as addresses and
    sizes, and the number of the CPU that starts."""

    root: Node
    reservations: list[tuple[int, int]] = field(default_factory=list)
    boot_cpu: int = 0


def cells(*values: int) -> tuple[int, ...]:
    """Two cells for each value, the higher half first: addresses and sizes of 64 bits."""
    return tuple(half for value in values for half in (value >> 32, value & 0xFFFF_FFFF))


def encoded(root: Node) -> dict[Node, dict[str, bytes]]:
    """The bytes of each property of each node, with phandles for the nodes referred to."""
    phandles = _phandles(root)
    everything = {}
    for node in root.walk():
        properties = {name: _bytes(value, phandles) for name, value in node.properties.items()}
        if node in phandles:
            properties["phandle"] = struct.pack(">I", phandles[node])
        everything[node] = properties
    return everything


def text_of(value: Property) -> str:
    """The first string of a property, "" if it holds none."""
    if isinstance(value, bytes):
        return value.split(b"\0", 1)[0].decode("latin-1")
    return value if isinstance(value, str) else ""


def words_of(value: Property) -> tuple[int, ...]:
    """The cells of a property that was read; none if it holds no whole ones."""
    if isinstance(value, bytes) and len(value) % 4 == 0:
        return struct.unpack(f">{len(value) // 4}I", value)
    return ()


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


def _bytes(value: Property, phandles: Mapping[Node, int]) -> bytes:
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    values = (value,) if isinstance(value, int | str | Node) else value
    return b"".join(
        each.encode() + b"\0"
        if isinstance(each, str)
        else struct.pack(">I", phandles[each] if isinstance(each, Node) else each)
        for each in values
    )
