"""Imports of other threads, which a copy of this process (fork(2)) does not have: a module that one
of them was importing stays half imported in the copy, with its lock held, and who imports it there
waits for ever."""

from __future__ import annotations

import threading
import time
from _imp import acquire_lock, release_lock
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import _bootstrap
from typing import Any

from bimetal.base.clock import Countdown

__all__ = ["no_import_under_way"]

SOON = 0.001
"""Seconds between two looks."""

_LOCKS: Mapping[str, Any] = vars(_bootstrap)["_module_locks"]
"""Weak references to the locks of modules, of which each import holds one."""


@contextmanager
def no_import_under_way(seconds: float) -> Iterator[None]:
    """A context in which no other thread imports anything, for a fork. If one does for longer than
    ``seconds``, as where a program is itself a module that another one imports, the context is
    entered nevertheless."""
    countdown = Countdown(seconds)
    acquire_lock()
    try:
        while _others_import() and countdown.left:
            release_lock()
            try:
                time.sleep(SOON)
            finally:
                acquire_lock()
        yield
    finally:
        release_lock()


def _others_import() -> bool:
    this = threading.get_ident()
    locks = [reference() for reference in [*_LOCKS.values()]]
    return any(lock is not None and lock.owner not in (None, this) for lock in locks)
