"""The flattened format of device trees (DTB): reading and writing.

Source: Devicetree Specification, release 0.4, chapter 5. Versions 16 and 17 are read, 17 is
written. What is read keeps every byte of every property.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

from bimetal.base.bits import align_up
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.firmware.devicetree import DeviceTree, Node, encoded

__all__ = ["flatten", "is_flat_tree", "read_tree", "tree_size"]

MAGIC = b"\xd0\x0d\xfe\xed"
HEADER = struct.Struct(">10I")
RESERVATION = struct.Struct(">QQ")
WORD = struct.Struct(">I")
PROPERTY = struct.Struct(">3I")
VERSION, OLDEST = 17, 16
DEEPEST = 64
"""Levels of nodes; real trees have a dozen."""


class Token(IntEnum):
    """What comes next in the structure block (5.4.1)."""

    BEGIN_NODE = 1
    END_NODE = 2
    PROPERTY = 3
    NOP = 4
    END = 9


def is_flat_tree(data: bytes) -> bool:
    """Whether ``data`` begins like a flattened device tree."""
    return data.startswith(MAGIC)


def tree_size(data: bytes) -> int:
    """How long the flattened tree at the start of ``data`` says that it is."""
    return int.from_bytes(data[4:8], "big")


def flatten(tree: DeviceTree | Node) -> bytes:
    """The tree as a blob. ValueError for a reference out of the tree."""
    if isinstance(tree, Node):
        tree = DeviceTree(tree)
    strings = _Strings()
    structure = b"".join(_structure(tree.root, strings)) + WORD.pack(Token.END)
    kept = b"".join(RESERVATION.pack(*each) for each in [*tree.reservations, (0, 0)])
    structure_at = HEADER.size + len(kept)
    strings_at = structure_at + len(structure)
    header = HEADER.pack(
        int.from_bytes(MAGIC, "big"),
        strings_at + len(strings.table),
        structure_at,
        strings_at,
        HEADER.size,
        VERSION,
        OLDEST,
        tree.boot_cpu,
        len(strings.table),
        len(structure),
    )
    return header + kept + structure + bytes(strings.table)


class _Strings:
    """The names of properties, each once."""

    def __init__(self) -> None:
        self.table = bytearray()
        self._places: dict[str, int] = {}

    def place(self, name: str) -> int:
        place = self._places.setdefault(name, len(self.table))
        if place == len(self.table):
            self.table += _raw(name)
        return place


def _structure(root: Node, strings: _Strings) -> Iterator[bytes]:
    properties = encoded(root)

    def written(node: Node) -> Iterator[bytes]:
        yield WORD.pack(Token.BEGIN_NODE) + _padded(_raw("" if node.parent is None else node.name))
        for name, value in properties[node].items():
            yield PROPERTY.pack(Token.PROPERTY, len(value), strings.place(name)) + _padded(value)
        for child in node.children:
            yield from written(child)
        yield WORD.pack(Token.END_NODE)

    return written(root)


def _raw(name: str) -> bytes:
    return name.encode("latin-1") + b"\0"


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def read_tree(blob: bytes, name: str) -> DeviceTree:
    """The tree in ``blob``, whose properties are bytes. Raises `BimetalError` naming ``name``."""
    if not is_flat_tree(blob):
        raise BimetalError(
            f"{name} is no device tree",
            "give a compiled one, as dtc makes of a source: dtc -O dtb -o FILE.dtb FILE.dts",
            ExitCode.DATA,
        )
    try:
        return _Reader(blob).read()
    except _Damage as damage:
        raise _refused(name, str(damage)) from None
    except (struct.error, IndexError):
        raise _refused(name, "it ends inside the tree") from None


class _Damage(Exception):
    """What is wrong with a blob."""


class _Reader:
    """One blob. Raises `_Damage`, struct.error or IndexError."""

    def __init__(self, blob: bytes):
        fields = HEADER.unpack_from(blob)
        _, size, self._structure, self._strings, self._kept, version, oldest, self._cpu = fields[:8]
        if size > len(blob):
            raise _Damage(f"it has {len(blob)} bytes of {size}")
        if version < OLDEST or oldest > VERSION:
            raise _Damage(f"it has version {version} of the format; 16 and 17 can be read")
        self._blob = blob[:size]
        self._at = self._structure

    def read(self) -> DeviceTree:
        return DeviceTree(self._root(), list(self._reservations()), self._cpu)

    def _reservations(self) -> Iterator[tuple[int, int]]:
        at = self._kept
        while (entry := RESERVATION.unpack_from(self._blob, at)) != (0, 0):
            yield entry
            at += RESERVATION.size

    def _root(self) -> Node:
        root: Node | None = None
        open_nodes: list[Node] = []
        while (token := self._word()) != Token.END:
            match token:
                case Token.BEGIN_NODE:
                    node = Node(self._node_name())
                    if len(open_nodes) >= DEEPEST:
                        raise _Damage(f"its nodes are nested more than {DEEPEST} deep")
                    if open_nodes:
                        self._add(open_nodes[-1], node)
                    elif root is None:
                        root = node
                    else:
                        raise _Damage("it has two roots")
                    open_nodes.append(node)
                case Token.END_NODE if open_nodes:
                    open_nodes.pop()
                case Token.PROPERTY if open_nodes:
                    self._property(open_nodes[-1])
                case Token.NOP:
                    pass
                case _:
                    raise _Damage(f"there is the token {token:#x} at {self._at - 4:#x}")
        if root is None or open_nodes:
            raise _Damage("its nodes do not end")
        root.name = ""
        return root

    def _add(self, parent: Node, node: Node) -> None:
        try:
            parent.add(node)
        except ValueError as error:
            raise _Damage(str(error)) from None

    def _property(self, node: Node) -> None:
        length, name_at = self._word(), self._word()
        name = self._text(self._strings + name_at)
        value = self._blob[self._at : self._at + length]
        if len(value) < length:
            raise _Damage(f"the property {name} of {node.path} is longer than the tree")
        self._at = align_up(self._at + length, 4)
        if name in node.properties:
            raise _Damage(f"{node.path} has the property {name} twice")
        node[name] = value

    def _word(self) -> int:
        (word,) = WORD.unpack_from(self._blob, self._at)
        self._at += 4
        return int(word)

    def _node_name(self) -> str:
        name = self._text(self._at)
        self._at = align_up(self._at + len(name) + 1, 4)
        return name

    def _text(self, at: int) -> str:
        end = self._blob.find(b"\0", at)
        if end < 0:
            raise IndexError
        return self._blob[at:end].decode("latin-1")


def _refused(name: str, how: str) -> BimetalError:
    return BimetalError(f"{name} is damaged: {how}", "get the file anew", ExitCode.DATA)
