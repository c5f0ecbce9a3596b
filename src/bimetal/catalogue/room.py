"""The disk under the cache folder: what is said when it is full, or cannot be written.

The programs that fetch and unpack only print what the system told them, so their words are read.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.folders import cache_folder

__all__ = ["disk_errors", "no_room", "tells_of_no_room"]

FULL = (errno.ENOSPC, errno.EDQUOT)
WORDS = (*map(os.strerror, FULL), "enough free space")
"""What programs print then, in the locale ``C``; the last words are those of apt."""

ROOM = "500 MB"
"""Enough for every guest while it is made: its packages, what is in them, and the result."""


def tells_of_no_room(text: str) -> bool:
    """Whether a program that printed ``text`` found the disk full."""
    return any(words in text for words in WORDS)


def no_room() -> BimetalError:
    """The error for a full disk."""
    return BimetalError(
        f"the disk with the cache folder {cache_folder()} is full",
        f"make {ROOM} of room there, or set XDG_CACHE_HOME to a folder on another disk",
        ExitCode.UNAVAILABLE,
    )


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Have `BimetalError` tell what the host does not let us do in the cache folder."""
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read what we print has gone: no matter of the disk
    except OSError as error:
        if error.errno in FULL:
            raise no_room() from error
        raise BimetalError(
            f"the cache folder {cache_folder()} cannot be used: {error}",
            "set XDG_CACHE_HOME to a folder that can be written",
            ExitCode.UNAVAILABLE,
        ) from error
