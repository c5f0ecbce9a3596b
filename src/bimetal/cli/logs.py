"""The log on standard error, one line an event."""

from __future__ import annotations

import logging

__all__ = ["show_logs"]


def show_logs() -> None:
    """Print what the package logs; called again, to what is standard error by then."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    package = logging.getLogger("bimetal")
    package.handlers = [handler]
    package.propagate = False
