"""What people type and point with, whatever carries it to the guest."""

from __future__ import annotations

from typing import Protocol

__all__ = ["BUTTONS", "RANGE", "InputDevice"]

BUTTONS = {"left": 0x110, "right": 0x111, "middle": 0x112, "side": 0x113, "extra": 0x114}
"""Numbers of the buttons of a tablet or a mouse, which are Linux's."""

RANGE = 0x7FFF
"""Where somebody points is told from 0 to this, in both directions."""


class InputDevice(Protocol):
    """A keyboard, a tablet or a mouse. What it does not have does nothing. Use it under the
    machine's lock."""

    @property
    def listens(self) -> bool:
        """Whether there is a driver, and it takes what happens."""

    def press(self, code: int, down: bool) -> None:
        """A key, or a button, of Linux's number goes down or up."""

    def point(self, x: int, y: int) -> None:
        """Point there, from 0 to `RANGE` each."""

    def move(self, right: int, down: int) -> None:
        """Move it so many steps."""

    def turn(self, steps: int) -> None:
        """The wheel is turned, away from the user if that is positive."""
