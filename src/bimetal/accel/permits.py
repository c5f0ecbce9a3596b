"""How many translators the copies of a process have at a time: one for each processor, however many
copies there are.

A permit is a byte of a file without a name, locked as POSIX locks are: by a process, and not by the
copies that are made of it, and given back when the process ends, whatever ends it.
"""

from __future__ import annotations

import fcntl
import os

__all__ = ["Permits"]


class Permits:
    """Permits of which a process and all its copies have the same."""

    def __init__(self) -> None:
        self._count = len(os.sched_getaffinity(0))
        self._fd = os.memfd_create("bimetal-permits", os.MFD_CLOEXEC)

    def take(self) -> bool:
        """Have one of them, as long as this process does not give it back; False if there is none
        at present."""
        for number in range(self._count):
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            except OSError:
                continue
            return True
        return False

    def give_back(self) -> None:
        """Let another copy have it. Idempotent."""
        fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
