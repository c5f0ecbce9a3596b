"""The consoles of a machine, and the escape keys of the person at their far ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bimetal.backends.chars.choose import open_chars
from bimetal.backends.chars.escape import EscapeAction
from bimetal.backends.chars.protocol import CharBackend
from bimetal.base.errors import ExitCode
from bimetal.machine.console import Console
from bimetal.machine.gate import VcpuGate
from bimetal.machine.result import Ending, Result

__all__ = ["Consoles"]


class Consoles:
    """The ``first`` console, and a second one, ``hvc``, if that is to lead anywhere.

    Far ends are back ends, or texts as `Machine` takes them. The second one knows the size of a
    terminal: its own, or else the first one's. Raises `BimetalError` for one that
    cannot be opened.
    """

    def __init__(self, gate: VcpuGate, first: str | CharBackend, hvc: str | CharBackend | None):
        self._gate = gate
        self.on_save: Callable[[], None] | None = None
        """Callback: a person asks to save the machine; the lock is held."""
        self.first = self._open(first)
        try:
            self.hvc = None if hvc is None else self._open(hvc)
        except BaseException:
            self.first.close()
            raise
        if self.hvc is not None and not self.hvc.show_size_to(self.hvc.line):
            self.first.show_size_to(self.hvc.line)

    def __iter__(self) -> Iterator[Console]:
        yield self.first
        if self.hvc is not None:
            yield self.hvc

    def _open(self, far_end: str | CharBackend) -> Console:
        end = far_end
        if isinstance(end, str):
            end = open_chars(end, self._escape, self._reader_gone)
        console = Console(end, self._gate, far_end if isinstance(far_end, str) else "")
        self._gate.on_over.add(console.wake)
        return console

    def _reader_gone(self) -> None:
        """The reader of standard output has gone away; the lock is held."""
        self._gate.end(Result(Ending.STOPPED, ExitCode.BROKEN_PIPE))

    def _escape(self, action: EscapeAction) -> None:
        """Carry out what a person has asked for with the escape key; the lock is held."""
        if action is EscapeAction.QUIT:
            self._gate.end(Result(Ending.STOPPED))
        elif action is EscapeAction.SAVE and self.on_save is not None:
            self.on_save()
