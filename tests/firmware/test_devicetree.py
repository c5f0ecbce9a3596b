"""Device trees: properties of every kind, references, and what dtc makes of the blob."""

import subprocess

import pytest

from bimetal.firmware.devicetree import Node, cells, flatten
from tests.host import need


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
            },
        )
    )
    return root


def decompile(blob: bytes) -> str:
    need("dtc")
    done = subprocess.run(
        ["dtc", "-I", "dtb", "-O", "dts", "-q"], input=blob, capture_output=True, check=True
    )
    return done.stdout.decode()


def test_dtc_reads_what_we_write() -> None:
    text = " ".join(decompile(flatten(example())).split())
    for part in (
        'model = "example";',
        'compatible = "acme,uart\\0ns16550a";',
        "interrupt-parent = <0x01>;",
        "interrupts-extended = <0x01 0x07>;",
        "phandle = <0x01>;",
        "reg = <0x00 0x1000 0x01 0x00>;",
        "interrupt-controller;",
        "seed = [01 02 03];",
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


def test_two_children_of_one_name() -> None:
    root = example()
    with pytest.raises(ValueError, match="/ has two children called soc"):
        root.add(Node("soc"))


def test_a_reference_out_of_the_tree() -> None:
    root = example()
    root["friend"] = Node("elsewhere")
    with pytest.raises(ValueError, match="reference to elsewhere"):
        flatten(root)
