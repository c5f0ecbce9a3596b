"""Overlays of device trees, beside fdtoverlay."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError
from bimetal.firmware.devicetree import Node, encoded
from bimetal.firmware.flat_tree import flatten, read_tree
from bimetal.firmware.overlay import apply_overlay
from tests.firmware.trees import compiled, overlaid

BASE = """\
/dts-v1/;
/ {
    #address-cells = <1>; #size-cells = <1>;
    aliases { bus = "/soc"; };
    chosen { };
    soc: soc {
        #address-cells = <1>; #size-cells = <1>;
        pic: pic@1000 { reg = <0x1000 0x1000>; interrupt-controller; };
        uart: uart@2000 { reg = <0x2000 0x100>; status = "okay"; interrupt-parent = <&pic>; };
        bare@3000 { reg = <0x3000 0x100>; };
    };
    users { list = <&uart &pic>; };
};
"""
HEAD = "/dts-v1/; /plugin/;\n"


def applied(base: bytes, *overlays: bytes) -> bytes:
    tree = read_tree(base, "the tree")
    for overlay in overlays:
        apply_overlay(tree, read_tree(overlay, "the overlay"), "the overlay x.dtbo")
    return flatten(tree)


def contents(blob: bytes) -> dict[str, dict[str, bytes]]:
    root = read_tree(blob, "the tree").root
    return {node.path: properties for node, properties in encoded(root).items()}


GOOD = {
    "a node by its label": '&uart { status = "disabled"; clock = <7>; };',
    "a node by its path": '&{/soc/uart@2000} { status = "disabled"; };',
    "a node by an alias": '/ { fragment@0 { target-path = "bus"; __overlay__ { a; }; }; };',
    "an alias and a path": '/ { f { target-path = "bus/uart@2000"; __overlay__ { a; }; }; };',
    "the root": "&{/} { new-node { a = <1>; }; };",
    "a new node with a reference to the tree": "&soc { dev@4000 { interrupt-parent = <&pic>; }; };",
    "references between new nodes": "&soc { one: one@1 { next = <&two>; }; two: two@2 { x; }; };",
    "a reference among other cells": "&soc { d@4 { list = <1 &pic 2 &uart 3>; }; };",
    "a property that is replaced by a longer one": '&uart { status = "a", "much", "longer"; };',
    "a node in a node": "&uart { a { b { c = <1>; }; }; };",
    "several fragments": '&uart { a; };\n&pic { b; };\n&{/chosen} { bootargs = "quiet"; };',
    "a unit address left away": "&{/soc/bare} { a; };",
    "a node that is empty": "&uart { };",
    "two fragments for one node": "&uart { a = <1>; };\n&uart { a = <2>; b; };",
    "bytes and strings": '&uart { bytes = [01 02 03]; text = "a", ""; };',
}


@pytest.mark.parametrize("source", GOOD.values(), ids=GOOD)
def test_an_overlay_makes_what_fdtoverlay_makes(tmp_path: Path, source: str) -> None:
    base, overlay = compiled(BASE, "-@"), compiled(HEAD + source, "-@")
    theirs = overlaid(tmp_path, base, overlay)
    assert theirs is not None
    assert contents(applied(base, overlay)) == contents(theirs)


def test_overlays_one_on_the_other(tmp_path: Path) -> None:
    first = compiled(
        HEAD + "&soc { bus: bus@5000 { a: a@1 { }; b: b@2 { other = <&a>; }; }; };", "-@"
    )
    second = compiled(HEAD + "&bus { c@3 { other = <&b &uart>; }; };\n&b { x; };", "-@")
    base = compiled(BASE, "-@")
    theirs = overlaid(tmp_path, base, first, second)
    assert theirs is not None
    made = contents(applied(base, first, second))
    assert made == contents(theirs)
    assert made["/__symbols__"]["b"] == b"/soc/bus@5000/b@2\0"
    assert made["/soc/bus@5000/c@3"]["other"][:4] == made["/soc/bus@5000/b@2"]["phandle"]


def test_random_overlays_make_what_fdtoverlay_makes(tmp_path: Path) -> None:
    chance = random.Random(4)
    base = compiled(BASE, "-@")
    for _ in range(30):
        labels = ["pic", "uart", "soc"]
        fragments = []
        for _ in range(chance.randrange(1, 4)):
            lines = []
            for _ in range(chance.randrange(1, 4)):
                label = f"l{chance.randrange(1 << 30)}"
                others = " ".join(
                    f"&{chance.choice(labels)}" for _ in range(chance.randrange(1, 4))
                )
                lines.append(f"{label}: {label}@1 {{ x = <{others} 5>; }};")
                labels.append(label)
            fragments.append(f"&{chance.choice(labels[:3])} {{ {' '.join(lines)} }};")
        overlay = compiled(HEAD + "\n".join(fragments), "-@")
        theirs = overlaid(tmp_path, base, overlay)
        assert theirs is not None
        assert contents(applied(base, overlay)) == contents(theirs)


def test_the_trees_phandles_stay(tmp_path: Path) -> None:
    """The tree's own references must go on leading where they did."""
    base = compiled(BASE, "-@")
    overlay = compiled(HEAD + "&soc { mine: uart@2000 { a; }; user { uart = <&mine>; }; };", "-@")
    before, after = contents(base), contents(applied(base, overlay))
    assert after["/soc/uart@2000"]["phandle"] == before["/soc/uart@2000"]["phandle"]
    assert after["/users"] == before["/users"]
    assert after["/soc/user"]["uart"] == before["/soc/uart@2000"]["phandle"]


def test_a_label_of_a_node_without_a_phandle() -> None:
    root = Node("")
    root.add(Node("bare", {"a": 1}))
    root.add(Node("__symbols__", {"bare": "/bare"}))
    overlay = compiled(HEAD + "&bare { b; };\n&{/} { user { to = <&bare>; }; };")
    made = contents(applied(flatten(root), overlay))
    assert set(made["/bare"]) == {"a", "b", "phandle"}
    assert made["/user"]["to"] == made["/bare"]["phandle"]


NONE = "target = <0xffffffff>; __overlay__ { };"
BAD = [
    ("&timer { a; };", "refers to the label timer, which the tree does not have", "dtc -@"),
    ("&{/timer} { a; };", "changes /timer, which the tree does not have", "--dumpdtb"),
    ('/ { f { target-path = "disk"; __overlay__ { }; }; };', "changes disk, which", "--dumpdtb"),
    ("/ { f { target = <77>; __overlay__ { }; }; };", "a node with the phandle 0x4d", "--dumpdtb"),
    ("/ { f { __overlay__ { }; }; };", "does not say where f belongs", "anew"),
    (f"/ {{ f {{ {NONE} }}; }};", "does not say where f belongs", "anew"),
    ('/ { f { target-path = "/"; }; };', "is no overlay: it has no fragments", "as dtb"),
    ('/ { __fixups__ { pic = "/f:target"; }; };', "names byte -1 of target in /f", "anew"),
    ('/ { __fixups__ { pic = "/f:target:0"; }; };', "names byte 0 of target in /f", "anew"),
    ("/ { __local_fixups__ { f { x = <4>; }; }; f { x = <1>; }; };", "names byte 4 of x", "anew"),
    ("/ { f { phandle = <0xfffffffe>; }; };", "has phandles that are too large", "anew"),
]


@pytest.mark.parametrize(("source", "cause", "remedy"), BAD, ids=range(len(BAD)))
def test_overlays_that_do_not_fit(source: str, cause: str, remedy: str) -> None:
    base = compiled(BASE, "-@")
    overlay = compiled((HEAD if "&" in source else "/dts-v1/;\n") + source)
    with pytest.raises(BimetalError) as caught:
        applied(base, overlay)
    assert caught.value.cause.startswith("the overlay x.dtbo ")
    assert cause in caught.value.cause
    assert remedy in caught.value.remedy


def test_a_label_where_the_tree_has_no_labels() -> None:
    with pytest.raises(BimetalError, match="refers to the label uart"):
        applied(compiled(BASE), compiled(HEAD + "&uart { a; };"))


def test_the_highest_phandle_of_a_tree_leaves_no_room() -> None:
    base = flatten(Node("", {"phandle": struct.pack(">I", 0xFFFF_FFFE)}))
    overlay = compiled(HEAD + "&{/} { a: a { }; b { to = <&a>; }; };")
    with pytest.raises(BimetalError, match="too large"):
        applied(base, overlay)
