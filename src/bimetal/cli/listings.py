"""Lists in place of a run: ``--board help`` and ``--cpu help``."""

from __future__ import annotations

import click

import bimetal
from bimetal import Machine

__all__ = ["show_list"]

HELP = "help"


def show_list(board: str, guest: str | None, usual: str, model: str, accel: str) -> bool:
    """Print the boards, or the processor models that a machine of ``board``, or else the guest's
    or the ``usual`` one, could have here, if that is asked for; whether it was. Raises
    `BimetalError`."""
    if HELP in board.split(","):
        click.echo("\n".join(board_lines(board.split(",")[0])))
    elif model == HELP:
        own = bimetal.GUESTS[guest].board if guest else usual
        click.echo("\n".join(Machine.cpu_models(board or own, accel)))
    else:
        return False
    return True


def board_lines(only: str) -> list[str]:
    """A line for each board, with a line for each of its options: its values, the usual one first;
    for one board alone if it is ``only`` that."""
    boards = Machine.boards()
    shown = {name: board for name, board in boards.items() if only in (name, HELP)} or boards
    widths = [max(map(len, words)) for words in (shown, (each.isa for each in shown.values()))]
    lines = []
    for name, board in sorted(shown.items()):
        lines.append(f"{name:{widths[0]}}  {board.isa:{widths[1]}}  {board.summary}")
        lines += [f"  {option}={'|'.join(values)}" for option, values in board.options.items()]
    return lines
