"""Programs that change what is in a folder do so one after the other: what one of them has looked
at is so until it has written."""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bimetal.base.clock import Countdown
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.failing import host_failures

__all__ = ["turn"]

LOCK, MODE = ".lock", 0o600
"""The file whose lock whoever has a turn holds."""
PATIENCE = 20.0
"""Seconds that one waits for its turn."""
LOOK_AGAIN = 10
"""Milliseconds between two looks."""


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """A context in which nobody else is who has a turn in a folder: another process, or thread. It
    ends with the process, however that ends. Raises `BimetalError` if another one's does not."""
    countdown = Countdown(PATIENCE)
    with _failures(folder):  # by NFS only files that are open for writing are locked (flock(2))
        fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
    try:
        while not _is_ours(fd, folder):
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


def _is_ours(fd: int, folder: Path) -> bool:
    with _failures(folder):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _failures(folder: Path) -> AbstractContextManager[None]:
    return host_failures(
        f"{folder} cannot be locked",
        "correct the permissions of the folder, or see to its file system",
    )
