"""What outlasts the process unless somebody undoes it: a terminal's mode, the file of a socket.

Whoever makes such a thing says here how it is undone. It is, at the latest when the interpreter
ends. Only SIGKILL and a crash of the process find no time.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from contextlib import suppress

__all__ = ["lasts", "undo_all", "undone"]

Undo = Callable[[], None]
"""Called from any thread, at any moment, perhaps while its owner does the same: so idempotent."""

_lasting: list[Undo] = []


def lasts(undo: Undo) -> None:
    """Have ``undo`` called before the process ends, unless `undone` tells of it earlier."""
    _lasting.append(undo)


def undone(undo: Undo) -> None:
    """``undo`` has been done. Idempotent."""
    with suppress(ValueError):
        _lasting.remove(undo)


def undo_all() -> None:
    """Undo everything now. May be called from any thread."""
    while _lasting:
        with suppress(Exception):
            _lasting.pop()()


atexit.register(undo_all)
