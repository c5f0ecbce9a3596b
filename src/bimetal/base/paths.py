"""What paths lead to."""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["remove_file", "same_file"]


def same_file(path: str, other: str) -> bool:
    """Whether two paths, or other names, lead to one file, by links of any kind."""
    try:
        return path == other or os.path.samefile(path, other)
    except (OSError, ValueError):  # what is not there, or is no path
        return False


def remove_file(path: str) -> None:
    """Remove a file as far as the host lets it be removed: one that is gone is as good."""
    with suppress(OSError):
        os.unlink(path)
