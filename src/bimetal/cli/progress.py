"""Progress of downloads, which costs nothing as long as there is none to show."""

from __future__ import annotations

from importlib import import_module
from types import TracebackType
from typing import Protocol, Self

__all__ = ["ShownProgress"]


class View(Protocol):
    """What draws progress, see `bimetal.cli.bars`."""

    def step(self, text: str) -> None:
        """A new step begins."""

    def fraction(self, done: float) -> None:
        """How far the step is."""

    def close(self) -> None:
        """There are no more steps."""


class ShownProgress:
    """Progress on standard error; a context manager around the work."""

    def __init__(self) -> None:
        self._view: View | None = None

    def step(self, text: str) -> None:
        """A new step begins; the first one opens the view."""
        if self._view is None:
            view: View = import_module("bimetal.cli.bars").open_progress()
            self._view = view
        self._view.step(text)

    def fraction(self, done: float) -> None:
        """How far the current step is, from 0 to 1."""
        if self._view is not None:
            self._view.fraction(done)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._view is not None:
            self._view.close()
