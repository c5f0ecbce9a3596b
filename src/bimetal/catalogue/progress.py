"""How the catalogue tells what it is doing; the command line draws it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """Receives the steps of a download."""

    def step(self, text: str) -> None:
        """A new step begins; the step before it is done."""

    def fraction(self, done: float) -> None:
        """How far the current step is, from 0 to 1."""


class Silent:
    """Progress that is not shown."""

    def step(self, text: str) -> None:
        """Say nothing."""

    def fraction(self, done: float) -> None:
        """Say nothing."""
