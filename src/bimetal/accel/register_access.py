"""From what an instruction does to a register of the board's to the exit that asks the board."""

from __future__ import annotations

from ..ir.requests import RegisterUse
from ..seam import RegisterAccess

__all__ = ["fill"]

_ALL = (1 << 64) - 1
_READ, _WRITE, _SET, _CLEAR = (
    RegisterUse.READ, RegisterUse.WRITE, RegisterUse.SET, RegisterUse.CLEAR,
)  # fmt: skip


def fill(exit_: RegisterAccess, number: int, use: int, operand: int) -> RegisterAccess:
    """``exit_``, about the ``use`` (`RegisterUse`) of register ``number``. Instructions that set or
    clear bits write those of the operand only."""
    exit_.number, exit_.read, exit_.write = number, use != _WRITE, use != _READ
    exit_.mask = operand if use in (_SET, _CLEAR) else _ALL
    exit_.value = 0 if use == _CLEAR else operand
    return exit_
