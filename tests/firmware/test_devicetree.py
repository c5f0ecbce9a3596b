"""Device trees: properties of every kind, references, and what dtc makes of the blob."""

from __future__ import annotations

import random
import struct

import pytest

from bimetal.base.errors import BimetalError
from bimetal.firmware.devicetree import DeviceTree, Node, cells, encoded, text_of, words_of
from bimetal.firmware.flat_tree import flatten, is_flat_tree, read_tree, tree_size
from tests.firmware.trees import compiled, decompiled


def example() -> Node:
    root = Node("", {"#address-cells": 2, "#size-cells": 2, "model": "example"})
    soc = root.add(Node("soc", {"compatible": "simple-bus", "ranges": None}))
    pic = soc.add(
        Node("pic@1000", {"interrupt-controller": None, "reg": cells(0x1000, 0x1_0000_0000)})
    )
    soc.add(
        Node(
            "uart@2000",
            {
                "compatible": ("acme,uart", "ns16550a"),
                "interrupt-parent": pic,
                "interrupts-extended": (pic, 7),
                "seed": b"\x01\x02\x03",
                "bootargs": "é",
                "empty": "",
            },
        )
    )
    return root


def test_dtc_reads_what_we_write() -> None:
    text = " ".join(decompiled(flatten(example())).split())
    for part in (
        'model = "example";',
        'compatible = "acme,uart\\0ns16550a";',
        "interrupt-parent = <0x01>;",
        "interrupts-extended = <0x01 0x07>;",
        "phandle = <0x01>;",
        "reg = <0x00 0x1000 0x01 0x00>;",
        "interrupt-controller;",
        "seed = [01 02 03];",
        "bootargs = [c3 a9 00];",
        "soc { compatible",
        "uart@2000 {",
    ):
        assert part in text, part


def test_paths() -> None:
    root = example()
    assert [node.path for node in root.walk()] == [
        "/",
        "/soc",
        "/soc/pic@1000",
        "/soc/uart@2000",
    ]
    uart = root.find("/soc/uart@2000")
    assert uart is not None
    assert root.find("/soc/uart") is uart
    assert root.find("/") is root
    assert root.find("/soc/timer") is None
    assert root.find("/none/at/all") is None


def test_two_children_of_one_name() -> None:
    root = example()
    with pytest.raises(ValueError, match="/ has two children called soc"):
        root.add(Node("soc"))


def test_a_reference_out_of_the_tree() -> None:
    root = example()
    root["friend"] = Node("elsewhere")
    with pytest.raises(ValueError, match="reference to elsewhere"):
        flatten(root)


SOURCE = """\
/dts-v1/;
/memreserve/ 0x80000000 0x20000;
/memreserve/ 0x90000000 0x1000;
/ {
    #address-cells = <2>;
    text = "one", "two";
    empty;
    words = <1 0xffffffff>;
    long-one = /bits/ 64 <0x123456789abcdef0>;
    bytes = [00 01 ff];
    odd_with_references = "kept";
    timer: timer@1000 { reg = <0 0x1000>; };
    user { timers = <&timer 7>; path = &timer; nested { deeper { deepest; }; }; };
};
"""


def test_we_read_what_dtc_writes() -> None:
    tree = read_tree(compiled(SOURCE, "-b", "3"), "the tree")
    assert tree.boot_cpu == 3
    assert tree.reservations == [(0x8000_0000, 0x2_0000), (0x9000_0000, 0x1000)]
    root = tree.root
    assert root["text"] == b"one\0two\0"
    assert text_of(root["text"]) == "one"
    assert words_of(root["words"]) == (1, 0xFFFF_FFFF)
    assert words_of(root["bytes"]) == ()
    assert root["empty"] == b""
    assert [node.path for node in root.walk()] == [
        *("/", "/timer@1000", "/user", "/user/nested", "/user/nested/deeper"),
    ]


@pytest.mark.parametrize("options", [[], ["-@"], ["-V", "16"], ["-S", "0x4000"], ["-a", "64"]])
def test_a_tree_stays_the_same_when_it_is_read_and_written(options: list[str]) -> None:
    blob = compiled(SOURCE, *options)
    again = flatten(read_tree(blob, "the tree"))
    assert decompiled(again) == decompiled(blob)
    assert flatten(read_tree(again, "the tree")) == again


def test_what_stands_for_nothing_is_skipped() -> None:
    blob = flatten(Node("", {"a": 1, "b": 2}))
    at = blob.index(struct.pack(">III", 3, 4, 0))
    nothing = blob[:at] + struct.pack(">4I", 4, 4, 4, 4) + blob[at + 16 :]
    assert list(read_tree(nothing, "the tree").root.properties) == ["b"]


def test_trees_share_nothing() -> None:
    first, second = DeviceTree(Node("")), DeviceTree(Node(""))
    first.reservations.append((1, 2))
    assert read_tree(flatten(first), "first").reservations == [(1, 2)]
    assert second.reservations == []
    assert read_tree(flatten(Node("")), "third").reservations == []


def test_a_blob_is_known_by_its_mark() -> None:
    blob = flatten(example())
    assert is_flat_tree(blob)
    assert tree_size(blob) == len(blob)
    with pytest.raises(BimetalError, match="the file is no device tree") as caught:
        read_tree(b"/dts-v1/; / { };", "the file")
    assert "dtc" in caught.value.remedy


def words(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def blob_of(structure: bytes, strings: bytes = b"name\0") -> bytes:
    at = 40 + 16
    header = words(0xD00DFEED, at + len(structure) + len(strings), at, at + len(structure), 40)
    header += words(17, 16, 0, len(strings), len(structure))
    return header + bytes(16) + structure + strings


OPEN, CLOSE, END = words(1, 0), words(2), words(9)
CHILD = words(1) + b"abc\0"
GOOD = blob_of(OPEN + CLOSE + END)


@pytest.mark.parametrize(
    ("blob", "how"),
    [
        (GOOD[:-1], "it has 76 bytes of 77"),
        (GOOD[:20], "it ends inside the tree"),
        (blob_of(END), "its nodes do not end"),
        (blob_of(OPEN + END), "its nodes do not end"),
        (blob_of(OPEN + CLOSE + OPEN + CLOSE + END), "it has two roots"),
        (blob_of(CLOSE + END), "the token 0x2 at 0x38"),
        (blob_of(words(3, 0, 0) + END), "the token 0x3"),
        (blob_of(OPEN + words(77)), "the token 0x4d"),
        (blob_of(OPEN + words(3, 100, 0)), "the property name of / is longer than the tree"),
        (blob_of(OPEN + words(3, 0, 5)), "it ends inside the tree"),
        (blob_of(OPEN + words(3, 0, 0) * 2 + CLOSE + END), "/ has the property name twice"),
        (blob_of(OPEN + (CHILD + CLOSE) * 2 + CLOSE + END), "/ has two children called abc"),
        (blob_of(OPEN + CHILD * 100 + CLOSE * 101 + END), "nested more than 64 deep"),
        (GOOD[:20] + words(3, 2) + bytes(60), "version 3 of the format"),
        (GOOD[:16] + words(1 << 31) + GOOD[20:], "it ends inside the tree"),
    ],
    ids=range(15),
)
def test_damaged_blobs(blob: bytes, how: str) -> None:
    with pytest.raises(BimetalError) as caught:
        read_tree(blob, "the tree")
    assert how in caught.value.cause
    assert caught.value.exit_code == 65


def test_random_trees_are_what_dtc_sees() -> None:
    chance = random.Random(3)

    def grown(depth: int) -> Node:
        node = Node(f"n{chance.randrange(1 << 32):x}@{chance.randrange(16)}")
        for number in range(chance.randrange(5)):
            size = chance.choice([0, 1, 3, 4, 8, 13, 64])
            node[f"p{number}"] = chance.randbytes(size)
        for _ in range(chance.randrange(4) if depth else 0):
            node.add(grown(depth - 1))
        return node

    for _ in range(20):
        root = grown(4)
        root.name = ""
        blob = flatten(root)
        mine = {node.path: properties for node, properties in encoded(root).items()}
        again = read_tree(blob, "the tree").root
        assert {node.path: node.properties for node in again.walk()} == mine
        by_dtc = compiled(decompiled(blob))
        theirs = read_tree(by_dtc, "the tree").root
        assert {node.path: node.properties for node in theirs.walk()} == mine
