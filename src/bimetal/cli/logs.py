"""The log on standard error, one line an event."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

from bimetal.cli.status import STATUS

__all__ = ["show_logs"]


class _StandardError(logging.Handler):
    """Writes to what is standard error by then: a program may call the command line again."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):  # full or closed: the command goes on nevertheless
            print(self.format(record), file=sys.stderr, flush=True)


class _Status(logging.Handler):
    """Shows on the terminal what takes a while, until it is done."""

    def emit(self, record: logging.LogRecord) -> None:
        STATUS.show(f"bimetal: {record.getMessage()}")


def show_logs() -> None:
    """Print what the package logs from now on."""
    handler = _StandardError()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    package = logging.getLogger("bimetal")
    package.handlers = [handler]
    package.propagate = False
    slow = logging.getLogger("bimetal.interpreter")
    slow.handlers = [_Status()]
    slow.propagate = False
    slow.setLevel(logging.INFO)
