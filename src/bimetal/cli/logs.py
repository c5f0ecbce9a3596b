"""The log on standard error, one line an event."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

__all__ = ["show_logs"]


class _StandardError(logging.Handler):
    """Writes to what is standard error by then: a program may call the command line again."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):  # full or closed: the command goes on nevertheless
            print(self.format(record), file=sys.stderr, flush=True)


def show_logs() -> None:
    """Print what the package logs from now on."""
    handler = _StandardError()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    package = logging.getLogger("bimetal")
    package.handlers = [handler]
    package.propagate = False
