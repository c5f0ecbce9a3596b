"""A definition as JSON: its values by the names that `Definition` has for them.

{"name": "crab", "board": "riscv-virt", "memory": "512M", "kernel": "/srv/Image",
 "disks": [{"path": "/srv/crab.qcow2", "target": "vda"}], "nics": [{}]}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any
from uuid import uuid4

import msgspec

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import choose_from
from bimetal.control.definition import (
    Definition,
    DiskPart,
    NicPart,
    PortPart,
    ScreenPart,
    SharePart,
)
from bimetal.control.known_boards import board_named
from bimetal.machine.config import memory_size

__all__ = ["read_json", "write_json"]

PARTS: Mapping[str, type[Any]] = {
    "disks": DiskPart,
    "nics": NicPart,
    "shares": SharePart,
    "ports": PortPart,
    "screen": ScreenPart,
}
"""What lists of a definition hold, and what its screen is."""

SIZE_LIMIT = 1 << 20
"""Bytes of a definition."""


def read_json(text: bytes | str) -> Definition:
    """The definition in a document; one without a uuid gets one. Raises `BimetalError`."""
    if len(text) > SIZE_LIMIT:
        raise _wrong(f"it has {len(text)} bytes", f"a definition has {SIZE_LIMIT} at most")
    try:
        values = msgspec.json.decode(text)
        _check_names("a definition", values, Definition)
        for name, kind in PARTS.items():
            parts = values.get(name, [])
            for part in parts if isinstance(parts, list) else [parts] * (parts is not None):
                _check_names(
                    f"one of its {name}" if name.endswith("s") else f"its {name}", part, kind
                )
        values.setdefault("uuid", str(uuid4()))
        if isinstance(values.get("memory"), str):
            values["memory"] = memory_size(values["memory"])
        definition = msgspec.convert(values, Definition)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise _wrong(str(error)[:200], "correct it") from error
    board_named(definition.board)
    return definition


def write_json(definition: Definition) -> str:
    """The document. Reading it again makes the same definition."""
    values = msgspec.to_builtins(definition)
    values.pop("notes", None)
    return msgspec.json.format(msgspec.json.encode(values), indent=2).decode() + "\n"


def _check_names(what: str, values: Any, kind: type[Any]) -> None:
    """Raise `BimetalError` for a name that means nothing: a word that was mistyped would have no
    effect."""
    if not isinstance(values, dict):
        raise _wrong(f"{what} is no object", "write {...}")
    known = [field.name for field in fields(kind) if field.name != "notes"]
    for name in values:
        if name not in known:
            raise _wrong(f"{what} has no {name[:60]!r}", choose_from(name[:60], known))


def _wrong(why: str, remedy: str) -> BimetalError:
    return BimetalError(f"this is no definition: {why}", remedy, ExitCode.DATA)
