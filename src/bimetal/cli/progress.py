"""Downloads drawn on the terminal, or told line by line where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

__all__ = ["shown_progress"]


class Lines:
    """Progress in a log file or a pipe: a line for each step."""

    def __init__(self, console: Console):
        self._console = console

    def step(self, text: str) -> None:
        """Print the step."""
        self._console.print(f"bimetal: {text}", highlight=False)

    def fraction(self, done: float) -> None:
        """Say nothing: a log wants no bars."""


class Bars:
    """Progress on a terminal: a bar for the current step."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self._task: TaskID | None = None

    def step(self, text: str) -> None:
        """Begin a new bar; the last one is full."""
        self._finish()
        self._task = self._progress.add_task(text, total=1.0)

    def fraction(self, done: float) -> None:
        """Lengthen the bar."""
        if self._task is not None:
            self._progress.update(self._task, completed=done)

    def _finish(self) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=1.0)


@contextmanager
def shown_progress() -> Iterator[Lines | Bars]:
    """Progress on standard error, which is gone from a terminal when all went well."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bars(progress)
