"""Which versions of a guest stay in the cache.

Versions of Bimetal that make a guest differently share a cache: each has a link of its own to what
it has made. A folder goes when no link leads there, or when nobody has used it for long; but never
while a process uses it, which holds a lock on it for as long as it lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

from bimetal.base.clock import wall_seconds

__all__ = ["CURRENT", "link_name", "remove_unused", "use"]

CURRENT = "current"
LONG = 30 * 24 * 3600.0
"""Seconds without use after which what another version of Bimetal has made is removed."""

_used: dict[Path, int] = {}
"""Folders that this process uses, and the descriptors that hold their locks."""


def link_name(recipe: str) -> str:
    """The name of the link to what is made by a recipe."""
    return f"{CURRENT}-{recipe}"


def use(folder: Path) -> None:
    """Keep a folder as long as this process lives. Raises OSError if it is not there, or is being
    removed at this moment."""
    if folder not in _used or not os.path.samestat(os.fstat(_used[folder]), folder.stat()):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _lock(fd, fcntl.LOCK_SH)
        except BaseException:
            os.close(fd)
            raise
        if (before := _used.pop(folder, None)) is not None:
            os.close(before)
        _used[folder] = fd
    with contextlib.suppress(OSError):  # another user's cache, or one that is read-only
        os.utime(folder)


def remove_unused(home: Path, scratch: Path) -> None:
    """Remove the versions of a guest in ``home`` that nobody needs; the caller holds its lock, and
    works in ``scratch`` there. What cannot be removed stays."""
    wanted = set[str]()
    for link in home.glob(f"{CURRENT}*"):
        if link.is_symlink():
            if _is_lately_used(link):
                wanted.add(os.readlink(link))
            else:
                link.unlink(missing_ok=True)
    for folder in home.iterdir():
        mine = folder == scratch or folder.is_symlink() or folder.name in wanted
        if folder.is_dir() and not mine:
            _remove(folder)


def _is_lately_used(link: Path) -> bool:
    try:
        return wall_seconds() - link.stat().st_mtime < LONG
    except OSError:  # it leads nowhere
        return False


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _lock(fd, fcntl.LOCK_EX)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(fd)


def _lock(fd: int, how: int) -> None:
    """Lock at once. Raises BlockingIOError if others hold it; on a file system without locks
    nothing is held."""
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return
