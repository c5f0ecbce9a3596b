"""What paths lead to."""

from __future__ import annotations

import os

__all__ = ["same_file"]


def same_file(path: str, other: str) -> bool:
    """Whether two paths, or other names, lead to one file, by links of any kind."""
    try:
        return path == other or os.path.samefile(path, other)
    except (OSError, ValueError):  # what is not there, or is no path
        return False
