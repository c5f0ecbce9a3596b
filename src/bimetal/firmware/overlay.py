"""Overlays: changes to a device tree, in a tree of their own (DTBO).

An overlay has fragments; what is in the node ``__overlay__`` of each goes into the node that the
fragment's ``target`` or ``target-path`` names. Source: dtc's Documentation/dt-object-internal.txt
and, for what is not said there, the behaviour of fdtoverlay.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.firmware.devicetree import DeviceTree, Node, text_of, words_of

__all__ = ["apply_overlay"]

SYMBOLS, FIXUPS, LOCAL_FIXUPS, CONTENTS = (
    "__symbols__",
    "__fixups__",
    "__local_fixups__",
    "__overlay__",
)
PHANDLES = ("phandle", "linux,phandle")
NO_PHANDLE = 0xFFFF_FFFF


def apply_overlay(tree: DeviceTree, overlay: DeviceTree, name: str) -> None:
    """Change ``tree`` as ``overlay`` says. Both were read from blobs; ``overlay`` is used up.

    Raises `BimetalError` naming ``name`` if it does not fit the tree; the tree is then half done.
    """
    _Overlay(tree.root, overlay.root, name).apply()


class _Overlay:
    """One overlay and the tree below it."""

    def __init__(self, base: Node, overlay: Node, name: str):
        self._base, self._overlay, self._name = base, overlay, name
        self._by_phandle = {phandle: node for node in base.walk() if (phandle := _phandle(node))}
        self._renumbered = max(self._by_phandle, default=0)
        """What is added to the overlay's own phandles, so that they are none of the tree's."""

    def apply(self) -> None:
        self._renumber()
        self._refer_to_own_nodes()
        self._refer_to_the_tree()
        fragments = [
            (fragment, contents)
            for fragment in self._overlay.children
            if (contents := fragment.child(CONTENTS)) is not None
        ]
        if not fragments:
            raise self._refused(
                "is no overlay: it has no fragments", "give a whole device tree as dtb instead"
            )
        targets = [(fragment, contents, self._target(fragment)) for fragment, contents in fragments]
        kept = self._phandles_that_stay(targets)
        for _, contents, target in targets:
            self._merge(target, contents, kept)
        self._add_symbols({fragment.name: target for fragment, _, target in targets})

    # References

    def _renumber(self) -> None:
        for node in self._overlay.walk():
            if phandle := _phandle(node):
                if phandle + self._renumbered >= NO_PHANDLE:
                    raise self._refused("has phandles that are too large")
                for name in PHANDLES:
                    if name in node.properties:
                        node[name] = struct.pack(">I", phandle + self._renumbered)

    def _refer_to_own_nodes(self) -> None:
        fixups = self._overlay.child(LOCAL_FIXUPS)
        for node in fixups.walk() if fixups else ():
            place = node.path.removeprefix(f"/{LOCAL_FIXUPS}")
            for name, offsets in node.properties.items():
                for offset in words_of(offsets):
                    self._change(place, name, offset, None)

    def _refer_to_the_tree(self) -> None:
        fixups = self._overlay.child(FIXUPS)
        symbols = self._base.child(SYMBOLS)
        for label, places in fixups.properties.items() if fixups else ():
            path = text_of(symbols.properties.get(label)) if symbols else ""
            node = self._base.find(path) if path else None
            if node is None:
                raise self._refused(
                    f"refers to the label {label}, which the tree does not have",
                    "compile the tree with labels (dtc -@), or use target-path in the overlay",
                )
            phandle = self._phandle_for(node)
            for place in _strings(places):
                path, _, rest = place.partition(":")
                name, _, offset = rest.partition(":")
                self._change(path, name, int(offset) if offset.isdecimal() else -1, phandle)

    def _phandle_for(self, node: Node) -> int:
        phandle = _phandle(node)
        if not phandle:
            own = [_phandle(each) for each in self._overlay.walk()]
            phandle = max([*self._by_phandle, *own], default=0) + 1
            node["phandle"] = struct.pack(">I", phandle)
            self._by_phandle[phandle] = node
        return phandle

    def _change(self, path: str, name: str, offset: int, phandle: int | None) -> None:
        """Put ``phandle`` into a property of the overlay; without one, renumber what is there."""
        node = self._overlay.find(path)
        value = node.properties.get(name) if node else None
        if node is None or not isinstance(value, bytes) or not 0 <= offset <= len(value) - 4:
            raise self._refused(f"is damaged: it names byte {offset} of {name} in {path}")
        if phandle is None:
            (old,) = struct.unpack_from(">I", value, offset)
            phandle = (old + self._renumbered) & 0xFFFF_FFFF
        node[name] = value[:offset] + struct.pack(">I", phandle) + value[offset + 4 :]

    # Fragments

    def _target(self, fragment: Node) -> Node:
        path = text_of(fragment.properties.get("target-path"))
        numbers = words_of(fragment.properties.get("target"))
        if numbers and numbers[0] != NO_PHANDLE:
            found = self._by_phandle.get(numbers[0])
            wanted = f"a node with the phandle {numbers[0]:#x}"
        elif path:
            found, wanted = self._at(path), path
        else:
            raise self._refused(f"does not say where {fragment.name} belongs")
        if found is None:
            raise self._refused(
                f"changes {wanted}, which the tree does not have",
                "look into the tree with --dumpdtb and dtc, and correct the overlay",
            )
        return found

    def _at(self, path: str) -> Node | None:
        """The node at ``path``, which may begin with an alias instead of a slash."""
        if not path.startswith("/"):
            alias, _, rest = path.partition("/")
            aliases = self._base.child("aliases")
            start = text_of(aliases.properties.get(alias)) if aliases else ""
            if not start:
                return None
            path = f"{start}/{rest}"
        return self._base.find(path)

    def _phandles_that_stay(self, targets: list[tuple[Node, Node, Node]]) -> dict[Node, int]:
        """Nodes of the overlay that change nodes which have phandles. The tree refers to those by
        their old ones, so the overlay has to."""
        kept: dict[Node, int] = {}
        changed: dict[int, int] = {}
        for _, contents, target in targets:
            for node, old in _pairs(contents, target):
                number, own = _phandle(old), _phandle(node)
                if number and own:
                    kept[node] = number
                    changed[own] = number
        fixups = self._overlay.child(LOCAL_FIXUPS)
        for node in fixups.walk() if fixups and changed else ():
            place = node.path.removeprefix(f"/{LOCAL_FIXUPS}")
            user = self._overlay.find(place)
            for name, offsets in node.properties.items():
                for offset in words_of(offsets):
                    value = user.properties[name] if user else b""
                    assert isinstance(value, bytes)
                    (number,) = struct.unpack_from(">I", value, offset)
                    if number in changed:
                        self._change(place, name, offset, changed[number])
        return kept

    def _merge(self, target: Node, contents: Node, kept: dict[Node, int]) -> None:
        for name, value in contents.properties.items():
            target[name] = (
                struct.pack(">I", kept[contents])
                if contents in kept and name in PHANDLES
                else value
            )
        if phandle := _phandle(target):
            self._by_phandle[phandle] = target
        for child in contents.children:
            mine = target.child(child.name) or target.add(Node(child.name))
            self._merge(mine, child, kept)

    def _add_symbols(self, targets: dict[str, Node]) -> None:
        """The overlay's labels become the tree's, for overlays to come."""
        own, theirs = self._overlay.child(SYMBOLS), self._base.child(SYMBOLS)
        if own is None or not own.properties:
            return
        theirs = theirs or self._base.add(Node(SYMBOLS))
        for label, value in own.properties.items():
            _, fragment, inner, *rest = [*text_of(value).split("/"), "", ""]
            target = targets.get(fragment)
            if target is None or inner != CONTENTS:
                continue
            path = "/".join([target.path.rstrip("/"), *filter(None, rest)])
            theirs[label] = (path or "/").encode("latin-1") + b"\0"

    def _refused(self, how: str, remedy: str = "get the file anew") -> BimetalError:
        return BimetalError(f"{self._name} {how}", remedy, ExitCode.DATA)


def _pairs(contents: Node, target: Node) -> Iterator[tuple[Node, Node]]:
    """Each node of the overlay with the node of the tree that it changes."""
    yield contents, target
    for child in contents.children:
        if (old := target.child(child.name)) is not None:
            yield from _pairs(child, old)


def _phandle(node: Node) -> int:
    for name in PHANDLES:
        if numbers := words_of(node.properties.get(name)):
            return numbers[0]
    return 0


def _strings(value: object) -> list[str]:
    assert isinstance(value, bytes)
    return [text.decode("latin-1") for text in value.split(b"\0") if text]
