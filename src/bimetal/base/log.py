"""Events: what the guest or the host did wrong, counted always and logged sparingly.

A guest in a loop may commit the same error a million times a second, so each kind of event is
logged when its count reaches a power of two, and every one is counted. The log is Python's own
`logging`, below the logger ``bimetal``, one logger a source.
"""

from __future__ import annotations

import logging
from collections import Counter

__all__ = ["EventLog", "logger"]

KINDS_LIMIT = 256
"""Kinds of event counted apart for one source; a hostile guest could make any number of them."""

OTHERS = "further kinds of event"


def logger(name: str) -> logging.Logger:
    """The logger ``bimetal.name``."""
    return logging.getLogger(f"bimetal.{name}")


class EventLog:
    """The events of one source, say a device; ``counts`` holds how often each kind happened.

    The kind of an event is its message, so messages hold no data that varies without end.
    """

    def __init__(self, source: str):
        self.source = source
        self.counts: Counter[str] = Counter()

    def guest_error(self, message: str, detail: str = "") -> None:
        """The guest asked for what the hardware does not do; ``detail`` is logged, not counted."""
        self._event(logging.WARNING, f"guest error: {message}", detail)

    def unimplemented(self, message: str, detail: str = "") -> None:
        """The guest used what the hardware has and this program does not."""
        self._event(logging.WARNING, f"not implemented: {message}", detail)

    def host_error(self, message: str, detail: str = "") -> None:
        """The host failed the guest: a full disk, a read error, output that nobody takes."""
        self._event(logging.ERROR, f"host error: {message}", detail)

    def hint(self, message: str) -> None:
        """The guest would go on better if it, or the machine, were started in another way."""
        self._event(logging.WARNING, message, "")

    def _event(self, level: int, kind: str, detail: str) -> None:
        if kind not in self.counts and len(self.counts) >= KINDS_LIMIT:
            kind, detail = OTHERS, f"{kind} {detail}"
        self.counts[kind] += 1
        happened = self.counts[kind]
        if happened & (happened - 1) == 0:
            times = f" ({happened} times)" if happened > 1 else ""
            logger(self.source).log(level, "%s%s%s", kind, f": {detail}" if detail else "", times)
