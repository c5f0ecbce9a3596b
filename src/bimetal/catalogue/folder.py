"""Folders in the user's cache, safe for several processes at once.

The rules: what stands under its final name is complete; new things are made beside it under a
name that nobody looks for and moved into place by one rename; whoever makes something holds a
lock, whoever only reads needs none.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bimetal.base.folders import make_private

__all__ = ["link_to", "locked", "remove_scratch", "scratch_folder"]

SCRATCH = ".making-"


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file ``path``; ``on_wait`` is called before waiting for another process.

    The system drops the lock of a process that dies, so a lock file left behind does no harm. On a
    file system without locks two processes may do the same work; what they make stays whole.
    """
    make_private(path.parent)
    with path.open("ab") as file:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """A folder on the same file system as ``beside``, gone at the end with what is still in it."""
    make_private(beside.parent)
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=beside.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_scratch(parent: Path) -> None:
    """Remove the scratch folders of processes that were killed; the caller holds the lock under
    which such folders are made in ``parent``."""
    for folder in parent.glob(f"{SCRATCH}*"):
        shutil.rmtree(folder, ignore_errors=True)


def link_to(link: Path, target: str) -> None:
    """Make the symbolic link ``link`` lead to ``target``, replacing an older one in one step."""
    with scratch_folder(link) as folder:
        fresh = folder / link.name
        fresh.symlink_to(target)
        if link.is_dir() and not link.is_symlink():  # a copy that did not keep links
            link.rename(folder / "copied")
        fresh.replace(link)
