"""Processes that end after this one has finished with them, and are reaped later."""

from __future__ import annotations

import subprocess
import threading

__all__ = ["Outliving", "leave", "reap"]


class Outliving(subprocess.Popen[bytes]):
    """A process that may still run when nobody asks for it any more."""

    def __del__(self) -> None:
        """Do not warn that the process still runs, as Popen does: it is meant to."""


_left: list[Outliving] = []
"""Children to be reaped while this process lives."""
_reaping = threading.Lock()


def leave(process: Outliving) -> None:
    """Have a later `reap` take the process's exit status."""
    with _reaping:
        _left.append(process)


def reap() -> None:
    """Take the exit status of the processes left that have ended by now; never waits."""
    with _reaping:
        _left[:] = [process for process in _left if process.poll() is None]
