"""A process that goes on by itself once it is ready, as ``-daemonize`` wants it.

The one that was started waits until then, so that whoever has started it may dial at once.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Self

__all__ = ["TERMINATE", "Daemon"]

TERMINATE = "terminate"
"""The news that the process is to end."""
READY = b"\n"
FAILED = 1


class Daemon:
    """If it is ``wanted``, what is in this context happens in a process of its own, which is a
    child of nobody's; the first one ends when that is ready, or has failed."""

    def __init__(self, *, wanted: bool):
        self._wanted = wanted
        self._mouth = -1

    def __enter__(self) -> Self:
        if not self._wanted:
            return self
        sys.stdout.flush()
        ears, self._mouth = os.pipe()
        if os.fork():
            os.close(self._mouth)
            os._exit(0 if os.read(ears, 1) == READY else FAILED)
        os.close(ears)
        os.setsid()
        return self

    def ready(self) -> None:
        """Let go of who has started us: its folder, its terminal, and it."""
        if self._mouth < 0:
            return
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nothing, descriptor)
        os.close(nothing)
        os.write(self._mouth, READY)
        os.close(self._mouth)
        self._mouth = -1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """What was not ready has failed, which the end of the process tells."""
