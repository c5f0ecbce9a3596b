"""Boards by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from msgspec import Struct, field

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.near import choose_from

if TYPE_CHECKING:
    from bimetal.machine.chassis import Chassis

__all__ = ["BOARDS", "Board", "all_boards", "board", "find_board", "supply"]


class Board(Struct, frozen=True):
    """A kind of machine: ``isa`` is its CPUs' instruction set, named as by `platform.machine`;
    ``place`` is what puts it together, or where that is (``module:name``). ``options`` are the
    options for ``NAME,OPTION=VALUE``: the values that each may have, the default first.
    ``cpus_with`` says of some options how many CPUs each value allows."""

    name: str
    isa: str
    max_cpus: int
    place: Callable[[Chassis], None] | str
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cpus_with: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def build(self) -> Callable[[Chassis], None]:
        """What puts it together."""
        return late(self.place) if isinstance(self.place, str) else self.place

    @property
    def summary(self) -> str:
        """The board in a line: the first paragraph of the docstring of ``build``."""
        return " ".join((self.build.__doc__ or "").strip().partition("\n\n")[0].split())

    def check(self, given: Mapping[str, str]) -> None:
        """Raise `BimetalError` for an option, or a value of one, that the board does not have."""
        for name, value in given.items():
            if name not in self.options:
                raise BimetalError(
                    f"the board {self.name} has no option {name!r}",
                    choose_from(name, self.options) if self.options else "leave it away",
                    ExitCode.USAGE,
                )
            if value not in self.options[name]:
                raise BimetalError(
                    f"the option {name} of the board {self.name} cannot be {value!r}",
                    choose_from(value, self.options[name]),
                    ExitCode.USAGE,
                )

    def check_cpus(self, cpus: int, given: Mapping[str, str]) -> None:
        """Raise `BimetalError` for more CPUs than it takes with the options ``given``."""
        for option, allowed in self.cpus_with.items():
            value = given.get(option, self.options[option][0])
            if allowed[value] < cpus <= max(allowed.values()):
                better = next(each for each, most in allowed.items() if most >= cpus)
                raise BimetalError(
                    f"the board {self.name} takes 1 to {allowed[value]} CPUs, not {cpus}",
                    f"give it fewer, or choose its option {option}={better}",
                    ExitCode.USAGE,
                )
        if not 1 <= cpus <= self.max_cpus:
            raise BimetalError(
                f"the board {self.name} takes 1 to {self.max_cpus} CPUs, not {cpus}",
                "give it as many",
                ExitCode.USAGE,
            )


BOARDS: dict[str, Board] = {}
"""Every board that was declared, by name."""
OURS = "bimetal.boards"
"""What declares those that there are anyway."""


def supply(*boards: Board) -> None:
    """Declare boards without importing what puts them together: a machine has no use for the
    devices of other boards, and who only names one has no use for any."""
    BOARDS.update({each.name: each for each in boards})


def all_boards() -> dict[str, Board]:
    """Every board that there is, by name."""
    import_module(OURS)
    return dict(BOARDS)


def board(
    name: str,
    *,
    isa: str,
    max_cpus: int,
    options: Mapping[str, tuple[str, ...]] | None = None,
    cpus_with: Mapping[str, Mapping[str, int]] | None = None,
) -> Callable[[Callable[[Chassis], None]], Callable[[Chassis], None]]:
    """Declare the decorated function as the board ``name``; the other parameters are as in `Board`.

    The same function may be declared again, as when a notebook's cell is run once more. Raises
    ValueError if another function has that name."""

    def declare(build: Callable[[Chassis], None]) -> Callable[[Chassis], None]:
        known = all_boards()
        if name in known and _place(known[name].build) != _place(build):
            raise ValueError(f"two boards are called {name}")
        BOARDS[name] = Board(name, isa, max_cpus, build, options or {}, cpus_with or {})
        return build

    return declare


def _place(build: Callable[[Chassis], None]) -> tuple[str, str]:
    return build.__module__, build.__qualname__


def find_board(text: str) -> tuple[Board, dict[str, str]]:
    """The board named in ``NAME`` or ``NAME,OPTION=VALUE,...``, and the options given.

    Raises `BimetalError`, which lists the known boards or says what is wrong with an option.
    """
    name, options = _split(text)
    known = all_boards()
    if name not in known:
        raise BimetalError(
            f"there is no board {name!r}", choose_from(name, sorted(known)), ExitCode.USAGE
        )
    known[name].check(options)
    return known[name], options


def _split(text: str) -> tuple[str, dict[str, str]]:
    name, *settings = text.split(",")
    options: dict[str, str] = {}
    for setting in settings:
        option, equals, value = setting.partition("=")
        if not option or not equals:
            raise BimetalError(
                f"{setting!r} is no option of a board",
                f"write it as in {name},OPTION=VALUE",
                ExitCode.USAGE,
            )
        if option in options:
            raise BimetalError(
                f"the option {option} of the board {name} is given twice",
                "give it once",
                ExitCode.USAGE,
            )
        options[option] = value
    return name, options
