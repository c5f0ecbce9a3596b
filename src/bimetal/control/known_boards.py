"""The boards, for those who name them without making a machine."""

from __future__ import annotations

from bimetal.base.late import late
from bimetal.machine.board import BOARDS, Board, find_board

__all__ = ["board_named", "boards"]


def boards() -> list[Board]:
    """All of them."""
    late("bimetal.boards:Machine")  # which declares them
    return list(BOARDS.values())


def board_named(text: str) -> Board:
    """The board in ``NAME,OPTION=VALUE``. Raises `BimetalError`."""
    late("bimetal.boards:Machine")
    return find_board(text)[0]
