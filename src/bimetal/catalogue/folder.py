"""The catalogue's folder in the user's cache, safe for several processes at once.

The rules: what stands under its final name is complete; new things are made beside it under a
name that nobody looks for and moved into place by one rename; whoever makes something holds a
lock, whoever only reads needs none.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["cache_folder", "link_to", "locked", "remove_scratch", "scratch_folder"]

SCRATCH = ".making-"


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/bimetal``, or ``~/.cache/bimetal``; made if need be.

    Raises `BimetalError` where it cannot be written.
    """
    home = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a path that is not absolute counts as unset.
    base = Path(home) if os.path.isabs(home) else Path("~/.cache").expanduser()
    folder = base / "bimetal"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BimetalError(
            f"the cache folder {folder} cannot be made: {error.strerror}",
            "set XDG_CACHE_HOME to a folder that can be written",
            ExitCode.NO_PERMISSION,
        ) from error
    return folder


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file ``path``; ``on_wait`` is called before waiting for another process.

    The system drops the lock of a process that dies, so a lock file left behind does no harm.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """A folder on the same file system as ``beside``, gone at the end with what is still in it."""
    beside.parent.mkdir(parents=True, exist_ok=True)
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
        fresh.replace(link)
