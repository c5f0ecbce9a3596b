"""Changes that outlast the process unless they are undone: a terminal's mode, the file of a socket.

Code that makes such a change registers here how to undo it. That is done, at the latest when the
interpreter ends, except after SIGKILL or a crash of the process.
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
