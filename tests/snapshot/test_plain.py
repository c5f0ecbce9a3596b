"""Plain values as text and back, and texts that nobody here has written."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimetal.snapshot.plain import DEPTH, from_json, to_json

BYTES = st.binary(max_size=4)
KEYS = st.none() | st.booleans() | st.integers() | st.text(max_size=4) | BYTES
FEW = st.frozensets(KEYS, max_size=3)
"""Short, as each thing that is drawn takes its time: on a busy host a hundred times as much."""
VALUES = st.recursive(
    KEYS | BYTES.map(bytearray) | FEW | FEW.map(set),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=6,
)


@given(VALUES)
def test_what_is_read_is_what_was_written(value: Any) -> None:
    again = from_json(to_json(value))
    assert again == value
    assert type(again) is type(value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    with suppress(ValueError):
        from_json(data)


@pytest.mark.parametrize(
    "text",
    [
        '{"!":1}',
        '{"!":["bytes"]}',
        '{"!":["bytes","?"]}',
        '{"!":["bytes",5]}',
        '{"!":["set",[[]]]}',
        '{"!":["dict",[[1]]]}',
        '{"!":["dict",[[[],1]]]}',
        '{"!":["object",[]]}',
        '{"!":["set",[1]],"other":2}',
        "1.5",
        "NaN",
        "[" * 100_000,
        "[" * (DEPTH + 1) + "]" * (DEPTH + 1),
        "9" * 5000,
        "",
        "\ud800",
    ],
)
def test_what_nobody_writes_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own have many texts
        from_json(text.encode(errors="surrogatepass"))


@pytest.mark.parametrize("value", [1.5, object(), {"a": object()}, [lambda: 1]])
def test_what_is_no_plain_value_is_an_error(value: Any) -> None:
    with pytest.raises(TypeError, match="no plain value"):
        to_json(value)
