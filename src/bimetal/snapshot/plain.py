"""Plain values as JSON and back: None, numbers, texts, bytes, lists, tuples, sets and dicts.

What JSON does not have is an object with the one key `MARK`. Nothing else can come out of it, so a
text that somebody else has made can be no more than wrong.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

__all__ = ["from_json", "to_json"]

MARK = "!"

DEPTH = 40
"""Levels of lists in lists that are read; states have a handful."""


def to_json(value: object) -> bytes:
    """The text for ``value``, in UTF-8. TypeError for what is no plain value."""
    text = json.dumps(_packed(value), separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii")


def from_json(data: bytes) -> Any:
    """The value that `to_json` made ``data`` of. Raises ValueError for everything else."""
    try:
        return _unpacked(json.loads(data), DEPTH)
    except RecursionError as error:
        raise ValueError("lists in lists without end") from error


def _packed(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list):
        return [_packed(each) for each in value]
    if isinstance(value, dict):
        if MARK not in value and all(isinstance(key, str) for key in value):
            return {key: _packed(each) for key, each in value.items()}
        return _marked("dict", [[_packed(key), _packed(each)] for key, each in value.items()])
    for name, (kind, pack, _) in _KINDS.items():
        if isinstance(value, kind):
            return _marked(name, pack(value))
    raise TypeError(f"{value!r:.60} is no plain value")


def _marked(kind: str, content: object) -> dict[str, object]:
    return {MARK: [kind, content]}


def _unpacked(value: Any, depth: int) -> Any:
    if depth == 0:
        raise ValueError("lists in lists in lists, deeper than any state")
    if isinstance(value, list):
        return [_unpacked(each, depth - 1) for each in value]
    if isinstance(value, dict):
        if MARK in value:
            return _unmarked(value, depth)
        return {key: _unpacked(each, depth - 1) for key, each in value.items()}
    if isinstance(value, float):
        raise ValueError("a number that is not whole")
    return value


def _unmarked(value: dict[str, Any], depth: int) -> Any:
    try:
        ((kind, content),) = value.values()
        if kind == "dict":
            pairs = [_unpacked(pair, depth - 1) for pair in content]
            return dict(pairs)
        return _KINDS[kind][2](content, depth - 1)
    except (TypeError, KeyError) as error:
        raise ValueError(f"a value of no kind that is known: {error}") from error


def _base64(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str, depth: int) -> bytes:
    return base64.b64decode(text, validate=True)


_KINDS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any, int], Any]]] = {
    "bytes": (bytes, _base64, _bytes),
    "bytearray": (bytearray, _base64, lambda text, depth: bytearray(_bytes(text, depth))),
    "tuple": (
        tuple,
        lambda value: [_packed(each) for each in value],
        lambda value, depth: tuple(_unpacked(each, depth) for each in value),
    ),
    "set": (
        set,
        lambda value: [_packed(each) for each in value],
        lambda value, depth: {_unpacked(each, depth) for each in value},
    ),
    "frozenset": (
        frozenset,
        lambda value: [_packed(each) for each in value],
        lambda value, depth: frozenset(_unpacked(each, depth) for each in value),
    ),
}
