"""Standard error of processes that nobody watches: what it does not take is lost, as when the disk
with their log is full, and they go on."""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from typing import Any

__all__ = ["lose_what_it_does_not_take"]

ERROR = 2


class _Lossy(io.FileIO):
    """Ignores errors: there is nowhere else to report them."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def lose_what_it_does_not_take() -> None:
    """Never raise errors of standard error from now on. What a test put in its place stays."""
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        with suppress(OSError):
            raw = io.BufferedWriter(_Lossy(ERROR, "w", closefd=False))
            sys.stderr = io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True)
