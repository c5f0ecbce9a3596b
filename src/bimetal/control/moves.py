"""Images that the disks of a machine have gone on to while it ran (`Machine.on_moved`).

The machine's process writes them down before the guest writes to them, where it can write; the
definition lies where it cannot, so whoever reads that puts them in. What is said of a disk holds
for a definition that names an image that the disk has had before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict

from bimetal.base.late import late
from bimetal.control.places import write_whole

__all__ = ["Move", "Moves", "with_image", "with_moves"]

LIMIT = 1 << 20


class Move(Struct):
    """A disk that had the images ``before`` has one at ``path``, of a ``format``, that lies on
    those at the paths ``below``."""

    path: str
    format: str
    below: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)


class Moves:
    """Those of one machine, by what its disks are called; kept in the file ``place``."""

    def __init__(self, place: Path):
        self._place = place
        self._all = _read(place)

    def note(self, moves: Mapping[str, tuple[str, Move]]) -> None:
        """Write down that disks go on to other images; the paths of those that they had are in the
        place of ``before``. Raises `BimetalError`, and then nothing is written."""
        new = {**self._all}
        for target, (had, move) in moves.items():
            known = self._all[target].before if target in self._all else []
            new[target] = Move(move.path, move.format, move.below, [*dict.fromkeys([*known, had])])
        write_whole(self._place, json.dumps({name: asdict(move) for name, move in new.items()}))
        self._all = new


def with_moves(text: str, place: Path) -> str:
    """The document of a definition with the images that its disks have gone on to, as the file at
    ``place`` has them."""
    moves = _read(place)
    if not moves:
        return text
    parse = late("bimetal.control.domain_xml.reading:read_definition")
    for disk in parse(text).disks:
        move = moves.get(disk.target)
        if move is not None and disk.path in move.before and disk.path != move.path:
            text = with_image(text, disk.target, move)
    return text


def with_image(text: str, target: str, move: Move) -> str:
    """The document with another image in a disk. NICs keep the addresses that follow from the
    images that there are, unless the document says them."""
    definition: Any = late("bimetal.control.domain_xml.reading:read_definition")(text)
    nic_from, macs_of = (late(f"bimetal.machine.nics:{each}") for each in ("nic_from", "macs_of"))
    nics = [nic_from(nic.network, {"mac": nic.mac or None}) for nic in definition.nics]
    found = iter(macs_of([nic for nic in nics if nic], [disk.path for disk in definition.disks]))
    macs = ["" if nic is None else next(found).hex(":") for nic in nics]
    with_macs = late("bimetal.control.domain_xml.altering:with_macs")
    with_source = late("bimetal.control.domain_xml.altering:with_source")
    text = str(with_macs(text, macs))
    return str(with_source(text, target, move.path, move.format, move.below))


def _read(place: Path) -> dict[str, Move]:
    """What a file says; nothing if it is not there, or is damaged."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        if place.stat().st_size <= LIMIT:
            told = json.loads(place.read_text())
            return {str(name): _move(values) for name, values in told.items()}
    return {}


def _move(values: Mapping[str, Any]) -> Move:
    move = Move(**values)
    paths: Sequence[Any] = [move.path, move.format, *move.below, *move.before]
    if not all(isinstance(each, str) for each in paths):
        raise ValueError(values)
    return move
