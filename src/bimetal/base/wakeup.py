"""Waking a thread that waits for descriptors."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

__all__ = ["Wakeup"]


class Wakeup:
    """A descriptor, ``fd``, that becomes readable when somebody rings: eventfd(2)."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closed = False
        # A signal handler may ring while its own thread does, so the lock must let it in again.
        self._lock = threading.RLock()

    def ring(self) -> None:
        """Make it readable. From any thread, from signal handlers, and also once it is closed:
        the number may be another descriptor's then, to which nothing must be written."""
        with self._lock:
            if not self._closed:
                os.eventfd_write(self.fd, 1)

    def hear(self) -> None:
        """It was heard: it is not readable until somebody rings again."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def close(self) -> None:
        """Give the descriptor back. Idempotent."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self.fd)
