"""Which files this process has compared with their checksums already, so that a snapshot that is
loaded again and again is not read through each time.

A file is known by its device and number, its size, and the times of its last changes. The host's
clock for these ticks only every few milliseconds, so nothing is known of a file that was changed a
moment ago.
"""

from __future__ import annotations

import os

from bimetal.base.clock import wall_nanoseconds

__all__ = ["is_sound", "note_sound"]

MOMENT_NS = 100_000_000
MOST = 64

_sound: dict[tuple[int, ...], None] = {}


def is_sound(fd: int) -> bool:
    """Whether the open file is one that `note_sound` was told of, and has not changed since."""
    return _identity(fd) in _sound


def note_sound(fd: int) -> None:
    """The open file is what its checksums say."""
    if wall_nanoseconds() - os.fstat(fd).st_ctime_ns > MOMENT_NS:
        if len(_sound) >= MOST:
            _sound.pop(next(iter(_sound)))
        _sound[_identity(fd)] = None


def _identity(fd: int) -> tuple[int, ...]:
    found = os.fstat(fd)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
