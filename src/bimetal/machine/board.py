"""Boards by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import choose_from
from bimetal.machine.chassis import Chassis

__all__ = ["BOARDS", "Board", "board", "find_board"]


@dataclass(frozen=True)
class Board:
    """A kind of machine: ``build`` puts it together; ``isa`` is that of its CPUs, by the name that
    `platform.machine` has for it."""

    name: str
    isa: str
    max_cpus: int
    build: Callable[[Chassis], None]


BOARDS: dict[str, Board] = {}
"""Every board that was declared, by name."""


def board(
    name: str, *, isa: str, max_cpus: int
) -> Callable[[Callable[[Chassis], None]], Callable[[Chassis], None]]:
    """Declare the function below as the board ``name``, perhaps again: a notebook's cell, say, that
    is run once more. ValueError if another function has that name."""

    def declare(build: Callable[[Chassis], None]) -> Callable[[Chassis], None]:
        if name in BOARDS and _place(BOARDS[name].build) != _place(build):
            raise ValueError(f"two boards are called {name}")
        BOARDS[name] = Board(name, isa, max_cpus, build)
        return build

    return declare


def _place(build: Callable[[Chassis], None]) -> tuple[str, str]:
    return build.__module__, build.__qualname__


def find_board(name: str) -> Board:
    """The board ``name``. Raises `BimetalError` that lists those that there are."""
    if name not in BOARDS:
        raise BimetalError(
            f"there is no board {name!r}",
            choose_from(name, sorted(BOARDS)),
            ExitCode.USAGE,
        )
    return BOARDS[name]
