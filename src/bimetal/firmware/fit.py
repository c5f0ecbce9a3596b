"""Flattened image trees (FIT): kernels, device trees and ramdisks in the format of a device tree.

Source: the Flat Image Tree Specification, version 0.8 (https://fitspec.osfw.foundation). Hashes are
looked at, signatures are not.
"""

from __future__ import annotations

import hashlib
import zlib

from msgspec import Struct

from bimetal.base.bits import align_up
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.firmware.devicetree import Node, text_of, words_of
from bimetal.firmware.flat_tree import read_tree, tree_size

__all__ = ["Fit", "FitImage"]

CHECKSUM = "crc32"
HASHES = ("md5", "sha1", "sha256", "sha384", "sha512")


class FitImage(Struct, frozen=True):
    """One file of the tree, as it lies there; addresses are None where the tree names none."""

    name: str
    data: bytes
    architecture: str
    load: int | None
    entry: int | None


class Fit:
    """The image tree in ``data``. Raises `BimetalError` that calls it ``name``."""

    def __init__(self, data: bytes, name: str):
        self._data, self._name = data, name
        self._root = read_tree(data, name).root
        self._end = align_up(tree_size(data), 4)

    @property
    def is_plain_tree(self) -> bool:
        """Whether it is a device tree without images."""
        return self._root.find("/images") is None

    def configuration(self, compatible: str) -> Node:
        """The configuration for a board of that ``compatible``: one whose device tree is for it,
        else the default, else the first."""
        table = self._root.find("/configurations")
        if table is None or not table.children:
            raise self._refused("has no configurations")
        for each in table.children:
            if compatible in self._compatibles(each):
                return each
        default = text_of(table.properties.get("default"))
        chosen = table.child(default) if default else table.children[0]
        if chosen is None:
            raise self._refused(f"has no configuration {default}, which it names as its default")
        return chosen

    def images(self, configuration: Node, what: str) -> list[FitImage]:
        """The images that ``configuration`` names as its ``what``: ``kernel``, ``fdt`` ..."""
        value = configuration.properties.get(what)
        assert value is None or isinstance(value, bytes)
        names = [text.decode("latin-1") for text in (value or b"").split(b"\0") if text]
        return [self._image(name) for name in names]

    def _compatibles(self, configuration: Node) -> list[str]:
        """The boards that a configuration is for; none if it does not tell."""
        value = configuration.properties.get("compatible")
        if value is None:
            try:
                trees = [image.data for image in self.images(configuration, "fdt")]
                value = read_tree(trees[0], "").root.properties.get("compatible") if trees else b""
            except BimetalError:  # it is not the one to be used, or will be refused then
                value = b""
        return value.decode("latin-1").split("\0") if isinstance(value, bytes) else []

    def _image(self, name: str) -> FitImage:
        node = self._root.find(f"/images/{name}")
        if node is None:
            raise self._refused(f"has no image {name}, which its configuration names")
        data = self._content(node)
        for each in node.children:
            if each.name.startswith("hash"):
                self._check(node, each, data)
        return FitImage(
            name,
            data,
            text_of(node.properties.get("arch")),
            _number(node, "load"),
            _number(node, "entry"),
        )

    def _content(self, node: Node) -> bytes:
        """The data of an image: in the tree, or behind it."""
        inside = node.properties.get("data")
        if isinstance(inside, bytes):
            return inside
        start, size = _number(node, "data-position"), _number(node, "data-size")
        if start is None and (offset := _number(node, "data-offset")) is not None:
            start = self._end + offset
        if start is None or size is None:
            raise self._refused(f"has no data for its image {node.name}")
        content = self._data[start : start + size]
        if len(content) < size:
            raise self._refused(f"is damaged: it has {len(self._data)} bytes of {start + size}")
        return content

    def _check(self, image: Node, hash_node: Node, data: bytes) -> None:
        algorithm, value = (
            text_of(hash_node.properties.get("algo")),
            hash_node.properties.get("value"),
        )
        if algorithm == CHECKSUM:
            found = zlib.crc32(data).to_bytes(4, "big")
        elif algorithm in HASHES:
            found = hashlib.new(algorithm, data, usedforsecurity=False).digest()
        else:
            return
        if value is not None and found != value:
            raise self._refused(f"is damaged: its image {image.name} is not what its hash says")

    def _refused(self, how: str) -> BimetalError:
        return BimetalError(f"{self._name} {how}", "build or get the file anew", ExitCode.DATA)


def _number(node: Node, name: str) -> int | None:
    """A number of one or two cells."""
    words = words_of(node.properties.get(name))
    if not 1 <= len(words) <= 2:
        return None
    return words[0] if len(words) == 1 else words[0] << 32 | words[1]
