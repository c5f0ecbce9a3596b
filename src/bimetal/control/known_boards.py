"""The boards, for those who name them without making a machine."""

from __future__ import annotations

from bimetal.machine.board import Board, all_boards, find_board

__all__ = ["board_named", "boards", "check_cpus"]


def boards() -> list[Board]:
    """All of them."""
    return list(all_boards().values())


def board_named(text: str) -> Board:
    """The board in ``NAME,OPTION=VALUE``. Raises `BimetalError`."""
    return find_board(text)[0]


def check_cpus(text: str, cpus: int) -> None:
    """Raise `BimetalError` if the board ``NAME,OPTION=VALUE`` is not there or takes fewer CPUs."""
    board, options = find_board(text)
    board.check_cpus(cpus, options)
