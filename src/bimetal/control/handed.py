"""Descriptors that clients hand over with a command (SCM_RIGHTS), and the names they give them.

Whoever carries out a command has the descriptor that came with it for that time (`handing`), and
`Handed` keeps those that were given a name (``getfd``) until something takes them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from bimetal.base.errors import ExitCode
from bimetal.control.failures import CommandFailed, ErrorClass

__all__ = ["LIMIT", "Handed", "handing", "take_handed"]

LIMIT = 64
"""Descriptors that may have a name at the same time."""

_HANDED: ContextVar[list[int]] = ContextVar("handed")


@contextmanager
def handing(descriptors: list[int]) -> Iterator[None]:
    """A context in which a command is carried out that came with ``descriptors``; those that it
    does not take are closed."""
    token = _HANDED.set(descriptors)
    try:
        yield
    finally:
        _HANDED.reset(token)
        while descriptors:
            os.close(descriptors.pop())


def take_handed() -> int:
    """The descriptor that came with the command; the caller closes it. Raises `CommandFailed`."""
    descriptors = _HANDED.get([])
    if not descriptors:
        raise _failed("no descriptor came with the command", "send one by SCM_RIGHTS")
    return descriptors.pop(0)


class Handed:
    """Descriptors by name."""

    def __init__(self) -> None:
        self._lock, self._named = threading.Lock(), dict[str, int]()

    def keep(self, name: str, descriptor: int) -> None:
        """Keep a descriptor under a name, in place of an earlier one. Raises `CommandFailed` for
        too many."""
        with self._lock:
            old = self._named.pop(name, None)
            if len(self._named) >= LIMIT:
                os.close(descriptor)
                raise _failed("there are too many descriptors", "use them, or closefd")
            self._named[name] = descriptor
        if old is not None:
            os.close(old)

    def take(self, name: str) -> int:
        """The descriptor of that name, which is the caller's now. A number is one that whoever has
        started us has opened. Raises `CommandFailed`."""
        with self._lock:
            descriptor = self._named.pop(name, None)
        if descriptor is not None:
            return descriptor
        if name.isdecimal():
            try:
                return os.dup(int(name[:9]))
            except OSError as error:
                raise _failed(f"descriptor {name[:9]}: {error.strerror}", "hand it over") from error
        raise _failed(f"there is no descriptor {name[:80]!r}", "hand it over: getfd")

    def discard(self, name: str) -> None:
        """Close the descriptor of that name. Raises `CommandFailed` if there is none."""
        with self._lock:
            descriptor = self._named.pop(name, None)
        if descriptor is None:
            raise _failed(f"there is no descriptor {name[:80]!r}", "getfd keeps them")
        os.close(descriptor)

    def close(self) -> None:
        """Close those that nobody has taken."""
        with self._lock:
            while self._named:
                os.close(self._named.popitem()[1])


def _failed(what: str, remedy: str) -> CommandFailed:
    return CommandFailed(ErrorClass.GENERIC, what, remedy, ExitCode.USAGE)
