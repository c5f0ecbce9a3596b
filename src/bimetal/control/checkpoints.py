"""Checkpoints of a machine: moments since which dirty bitmaps of its disks, of the same name, mark
what changes. What people say of them lies beside the lease."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.places import write_whole

__all__ = ["Checkpoint", "Checkpoints"]

LIMIT = 4 << 20


@dataclass(frozen=True)
class Checkpoint:
    """One of them: in which second since 1970 it was ``made``, which came before it, or "", what
    was said of it, and the targets of its ``disks``."""

    name: str
    made: int
    parent: str = ""
    description: str = ""
    disks: tuple[str, ...] = ()


class Checkpoints:
    """Those of one machine, in the order in which they were made; kept in the file ``place``.
    Methods raise `BimetalError`."""

    def __init__(self, place: Path):
        self._place = place
        self._all = {each.name: each for each in _read(place)}

    def __iter__(self) -> Iterator[Checkpoint]:
        return iter([*self._all.values()])

    def __contains__(self, name: str) -> bool:
        return name in self._all

    def __getitem__(self, name: str) -> Checkpoint:
        """The checkpoint of that name."""
        if name not in self._all:
            raise BimetalError(
                "Domain checkpoint not found: no domain checkpoint with matching name "
                f"'{name[:80]}'",
                "look: bimetal checkpoint-list",
                ExitCode.USAGE,
            )
        return self._all[name]

    @property
    def current(self) -> str:
        """The one that was made last, or ""."""
        return [*self._all][-1] if self._all else ""

    def children(self, name: str) -> list[Checkpoint]:
        """Those of which it is the parent."""
        return [each for each in self if each.parent == name]

    def descendants(self, name: str) -> list[Checkpoint]:
        """Those, and theirs, and so on."""
        found = list[Checkpoint]()
        for each in self.children(name):
            found += [each, *self.descendants(each.name)]
        return found

    def add(self, checkpoint: Checkpoint) -> None:
        """Note one more."""
        self._keep({**self._all, checkpoint.name: checkpoint})

    def remove(self, name: str) -> None:
        """Forget one; its parent is that of its children from now on."""
        gone = self[name]
        self._keep(
            {
                each.name: replace(each, parent=gone.parent) if each.parent == name else each
                for each in self
                if each.name != name
            }
        )

    def _keep(self, checkpoints: dict[str, Checkpoint]) -> None:
        write_whole(self._place, json.dumps([asdict(each) for each in checkpoints.values()]))
        self._all = checkpoints


def _read(place: Path) -> list[Checkpoint]:
    """What a file says; nothing if it is not there, or is damaged."""
    with suppress(OSError, ValueError, TypeError, RecursionError):
        if place.stat().st_size <= LIMIT:
            return [_checkpoint(**each) for each in json.loads(place.read_text())]
    return []


def _checkpoint(
    name: Any, made: Any, parent: Any = "", description: Any = "", disks: Any = ()
) -> Checkpoint:
    texts = [name, parent, description, *disks]
    if not (all(isinstance(each, str) for each in texts) and type(made) is int and name != parent):
        raise ValueError(name)
    return Checkpoint(name, made, parent, description, tuple(disks))
