"""Questions to a machine in another process, and its answers: plain values through two pipes."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from bimetal.backends.chars.descriptors import heard_within
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.expect import EndOfRun, TimedOut
from bimetal.snapshot.plain import from_json, to_json

__all__ = ["Asker", "answer", "tell_beginning", "tell_failure"]

PATIENCE = 60
"""Seconds in which a copy has to begin, which takes it some milliseconds: the original stands still
until then."""

LENGTH = 4
MOST = 1 << 30

ERRORS: dict[str, type[BimetalError]] = {
    each.__name__: each for each in (BimetalError, TimedOut, EndOfRun)
}


_open: WeakSet[Asker] = WeakSet()
"""All that this process can ask."""


class Asker:
    """The end that asks: each question is answered before the next one."""

    def __init__(self, requests: int, answers: int):
        self._requests, self._answers = requests, answers
        self._busy = threading.Lock()
        self._closed = False
        _open.add(self)

    @staticmethod
    def forked() -> None:
        """This process is a copy: let go of the pipes to all others, which would not hear that
        their own end is wanted as long as somebody holds them."""
        for asker in list(_open):
            if not asker._closed:
                asker._closed = True
                os.close(asker._requests)
                os.close(asker._answers)

    def ask(self, what: str, *args: Any) -> Any:
        """The answer to a question. Raises the `BimetalError` that it was answered with, or one if
        the other process is gone."""
        with self._busy:
            if self._closed:
                raise BimetalError("the machine is closed", "fork another one", ExitCode.USAGE)
            try:
                _write(self._requests, [what, list(args)])
            except OSError as error:
                raise _gone() from error
            return self._heard()

    def hear_beginning(self) -> None:
        """Return once the other process has told that it has begun. Raises the `BimetalError` that
        it told instead, or one if it is gone, or says nothing for `PATIENCE` seconds."""
        with self._busy:
            if not heard_within(self._answers, PATIENCE):
                raise BimetalError(
                    f"a forked machine has not begun within {PATIENCE} s",
                    "see what else the host does, and fork again",
                    ExitCode.UNAVAILABLE,
                )
            self._heard()

    def _heard(self) -> Any:
        try:
            found = _read(self._answers)
        except OSError as error:
            raise _gone() from error
        if found is None:
            raise _gone()
        kind, value = found
        if kind == "value":
            return value
        cause, remedy, code = value
        raise ERRORS.get(kind, BimetalError)(cause, remedy, code)

    def close(self) -> None:
        """Close both pipes, by which the other process ends. Idempotent."""
        with self._busy:
            if not self._closed:
                self._closed = True
                os.close(self._requests)
                os.close(self._answers)


def answer(requests: int, answers: int, tasks: dict[str, Callable[..., Any]]) -> None:
    """Answer questions by ``tasks`` until nobody can ask any more."""
    while (request := _read(requests)) is not None:
        what, args = request
        try:
            reply = ["value", tasks[what](*args)]
        except BimetalError as error:
            reply = _told(error)
        except (KeyError, ValueError, TypeError, OverflowError, IndexError, re.error) as error:
            reply = ["BimetalError", [f"{what}: {error!r}", "", int(ExitCode.USAGE)]]
        _write(answers, reply)


def tell_beginning(answers: int) -> None:
    """Tell who asks that this process has begun: before any `answer`."""
    os.write(answers, _BEGUN)


def tell_failure(answers: int, error: BimetalError) -> None:
    """Tell who asks why this process cannot begin."""
    _write(answers, _told(error))


def _told(error: BimetalError) -> list[Any]:
    return [type(error).__name__, [error.cause, error.remedy, int(error.exit_code)]]


def _gone() -> BimetalError:
    return BimetalError(
        "the process of the forked machine is gone", "fork another one", ExitCode.UNAVAILABLE
    )


def _framed(value: Any) -> bytes:
    data = to_json(value)
    return len(data).to_bytes(LENGTH, "little") + data


_BEGUN = _framed(["value", None])


def _write(fd: int, value: Any) -> None:
    left = memoryview(_framed(value))
    while left:
        left = left[os.write(fd, left) :]


def _read(fd: int) -> Any:
    """The next value; None at the end."""
    head = _take(fd, LENGTH)
    size = int.from_bytes(head, "little")
    if len(head) < LENGTH or size > MOST or len(data := _take(fd, size)) < size:
        return None
    return from_json(data)


def _take(fd: int, count: int) -> bytes:
    data = bytearray()
    while len(data) < count and (piece := os.read(fd, count - len(data))):
        data += piece
    return bytes(data)
