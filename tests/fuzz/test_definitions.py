"""Definitions that are damaged, or made up: each is read, or an error that says why."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
from lxml import etree

from bimetal.base.errors import BimetalError
from bimetal.control import Definition
from bimetal.control.domain_xml.reading import read_definition
from bimetal.control.domain_xml.writing import write_definition
from bimetal.control.json_form import read_json, write_json
from tests.control.test_domain_xml import FULL, LARGE

WORDS = [
    "", "0", "-1", "1" * 30, "x", "x" * 3000, "a/b", "a,b=c", "tcp", "udp", "pty", "unix", "virtio",
    "scsi", "\u00e9", "user", "::1", "riscv64", "virt", "virt-99", "KiB", "pflash", "yes", "a b",
    "1" * 400, " ", "\n", "\u2028", "%s", "{0}", "riscv-virt,ports=2",
]  # fmt: skip


def outcome(text: bytes | str) -> Definition | None:
    """The definition, which can be written and read again; None for an error."""
    try:
        definition = read_definition(text)
    except BimetalError:
        return None
    assert read_definition(write_definition(definition)) == definition
    return definition


@pytest.mark.parametrize("seed", range(4))
def test_bytes_that_were_changed(seed: int) -> None:
    chance, whole = random.Random(seed), LARGE.encode()
    read = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(data))
            match chance.randrange(3):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at : at + chance.randrange(1, 40)]
                case _:
                    data[at:at] = whole[at : at + chance.randrange(1, 40)]
        read += outcome(bytes(data)) is not None
    assert read


@pytest.mark.parametrize("seed", range(4))
def test_elements_and_attributes_that_were_changed(seed: int) -> None:
    chance, whole = random.Random(seed), etree.fromstring(LARGE)
    read = 0
    for _ in range(400):
        root = deepcopy(whole)
        for _ in range(chance.randrange(1, 4)):
            element: Any = chance.choice([*root.iter()])
            match chance.randrange(5):
                case 0 if element.getparent() is not None:
                    element.getparent().remove(element)
                case 1:
                    element.append(deepcopy(chance.choice([*whole.iter()])))
                case 2:
                    element.text = chance.choice(WORDS)
                case 3 if element.attrib:
                    element.attrib.pop(chance.choice([*element.attrib]))
                case _:
                    names = [*element.attrib, "type", "x"]
                    element.set(chance.choice(names), chance.choice(WORDS))
        read += outcome(etree.tostring(root)) is not None
    assert read


def test_json_that_was_changed() -> None:
    chance, whole = random.Random(1), json.loads(write_json(FULL))
    read = 0
    for _ in range(1000):
        values = deepcopy(whole)
        place = values
        if chance.random() < 0.5:
            place = chance.choice(values[chance.choice(["disks", "nics", "shares", "ports"])])
        name = chance.choice([*place, "x"])
        place[name] = chance.choice([*WORDS, 0, -1, 1 << 70, None, True, [], {}, [1], ["x"], 0.5])
        try:
            definition = read_json(json.dumps(values))
        except BimetalError:
            continue
        assert read_json(write_json(definition)) == definition
        with suppress(BimetalError):
            read_definition(write_definition(definition))
        read += 1
    assert read
