"""The boards, for those who name them without making a machine."""

from __future__ import annotations

from bimetal.base.late import late
from bimetal.machine.board import Board, all_boards, find_board

__all__ = ["board_named", "boards"]


def boards() -> list[Board]:
    """All of them."""
    late("bimetal.boards:Machine")  # which makes them known
    return list(all_boards().values())


def board_named(text: str) -> Board:
    """The board in ``NAME,OPTION=VALUE``. Raises `BimetalError`."""
    late("bimetal.boards:Machine")
    return find_board(text)[0]
