"""Downloads drawn on the terminal, or told line by line where there is none.

Imported by `progress` when there is something to draw: rich takes a while to load.
"""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

__all__ = ["Bars", "Lines", "SteadyConsole", "open_progress"]


class Lines:
    """Progress in a log file or a pipe: a line for each step."""

    def __init__(self, console: Console):
        self._console = console

    def step(self, text: str) -> None:
        """Print the step."""
        self._console.print(f"bimetal: {text}", highlight=False)

    def fraction(self, done: float) -> None:
        """Say nothing: a log wants no bars."""

    def close(self) -> None:
        """The lines stay."""


class Bars:
    """Progress on a terminal: a bar for the current step."""

    def __init__(self, console: Console):
        columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn()
        self._progress = Progress(*columns, console=console, transient=True)
        self._progress.start()
        self._task: TaskID | None = None

    def step(self, text: str) -> None:
        """Begin a new bar; the last one is full."""
        self._finish()
        self._task = self._progress.add_task(text, total=1.0)

    def fraction(self, done: float) -> None:
        """Lengthen the bar."""
        if self._task is not None:
            self._progress.update(self._task, completed=done)

    def close(self) -> None:
        """Take the bars off the terminal."""
        self._progress.stop()

    def _finish(self) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=1.0)


class SteadyConsole(Console):
    """A console that never hides the terminal's cursor, which a process that is killed while it
    draws could not bring back."""

    def show_cursor(self, show: bool = True) -> bool:
        """Do nothing, and say so."""
        return False


def open_progress() -> Lines | Bars:
    """Progress on standard error, which leaves no trace on a terminal."""
    console = SteadyConsole(stderr=True)
    return Bars(console) if console.is_terminal else Lines(console)
