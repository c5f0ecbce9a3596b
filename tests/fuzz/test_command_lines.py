"""Command lines that somebody made up: each is an order, a question, or an error that says why."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimetal.base.errors import BimetalError
from bimetal.control.emulator.grammar import read_words
from bimetal.control.emulator.lookups import AskedOnly
from bimetal.control.emulator.meaningless import MEANINGLESS
from bimetal.control.emulator.options import OPTIONS, read_command_line
from bimetal.control.emulator.targets import TARGETS

NAMES = [
    "id", "driver", "file", "file.filename", "size", "server", "wait", "path", "fd", "guest",
    "type", "accel", "base", "cpus", "sockets", "mode", "chardev", "pflash0", "", ".", "a.b.c",
]  # fmt: skip
VALUES = [
    "", "on", "off", "0", "-1", "1" * 40, "0x", "0xff", "x", "\u00e9", ",,", "none", "virt", "a.b",
    "help", "?", "socket", "pty", "unix:/x", "tcp::1", "512M", "1E", "tcg", "kvm:tcg", "help,x",
]  # fmt: skip
PIECES = st.one_of(
    st.sampled_from(VALUES), st.builds("{}={}".format, st.sampled_from(NAMES), st.text(max_size=8))
)
LISTS = st.lists(PIECES, max_size=5).map(",".join)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4).map(json.dumps)
OPTION = st.sampled_from(sorted({*OPTIONS, *MEANINGLESS})).map("-{}".format)
LINES = st.lists(st.one_of(OPTION, LISTS, OBJECTS, st.text(max_size=12)), max_size=12)


@given(LINES, st.sampled_from(sorted(TARGETS)))
def test_lines(words: list[str], target: str) -> None:
    with suppress(AskedOnly, BimetalError):
        read_command_line(TARGETS[target], words)


@settings(max_examples=20)
@pytest.mark.parametrize("option", sorted(OPTIONS))
@given(value=st.one_of(LISTS, OBJECTS, st.text(max_size=40)))
def test_each_option(option: str, value: str) -> None:
    words = [f"-{option}", value] if OPTIONS[option].takes else [f"-{option}"]
    with suppress(AskedOnly, BimetalError):
        read_command_line(TARGETS["riscv64"], words)


@settings(max_examples=50)
@given(st.one_of(LISTS, OBJECTS, st.text(max_size=60)), st.sampled_from(["", "driver"]))
def test_words_of_any_type(text: str, first: str) -> None:
    for name in NAMES:
        for take in ("text", "switch", "number", "size", "inner", "needed"):
            with suppress(BimetalError):
                getattr(read_words("device", text, first), take)(name)


@given(st.dictionaries(st.text("abc-_", min_size=1, max_size=5), st.text(max_size=9), min_size=1))
def test_what_was_written_is_read(values: dict[str, str]) -> None:
    line = ",".join(f"{name}={value.replace(',', ',,')}" for name, value in values.items())
    if "\0" not in line and not line.startswith("{"):
        assert read_words("device", line, "driver").rest() == values
