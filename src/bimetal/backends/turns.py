"""Programs that change what is in a folder do so one after the other: what one of them has looked
at is so until it has written."""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bimetal.base.clock import Countdown
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["turn"]

PATIENCE = 20.0
"""Seconds that one waits for its turn."""
LOOK_AGAIN = 10
"""Milliseconds between two looks."""


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """A context in which nobody else is who has a turn in a folder: another process, or thread. It
    ends with the process, however that ends. Raises `BimetalError` if another one's does not."""
    countdown = Countdown(PATIENCE)
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BimetalError(
            f"{folder} cannot be opened: {error.strerror}",
            "correct the permissions of the folder",
            ExitCode.IO_ERROR,
        ) from error
    try:
        while not _is_ours(fd):
            if not countdown.left:
                raise BimetalError(
                    f"another client has been changing {folder} for {PATIENCE:.0f} seconds",
                    "see which has that open",
                    ExitCode.UNAVAILABLE,
                )
            select.poll().poll(LOOK_AGAIN)
        yield
    finally:
        os.close(fd)


def _is_ours(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
