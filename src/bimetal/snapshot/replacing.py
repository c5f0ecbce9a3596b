"""A file that takes another's place at once and whole, or not at all."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["replacing"]

MODE = 0o600
"""The memory of a guest is nobody's business."""


@contextmanager
def replacing(path: str) -> Iterator[int]:
    """A descriptor of a new file that is at ``path`` once the context is left: after its content is
    safe from a crash of the host. If the context ends with an error, or the process is killed,
    ``path`` is what it was. Raises OSError.
    """
    folder, name = os.path.split(os.path.abspath(path))
    fd, scratch = _scratch(folder, name)
    try:
        yield fd
        os.fsync(fd)
        if scratch is None:
            scratch = _named(fd, folder, name)
        os.replace(scratch, os.path.join(folder, name))
        scratch = None
        _flush_folder(folder)
    finally:
        os.close(fd)
        if scratch is not None:
            with suppress(OSError):
                os.unlink(scratch)


def _scratch(folder: str, name: str) -> tuple[int, str | None]:
    """A new file: without a name where the host has such, so that nothing is left of it if this
    process is killed."""
    with suppress(OSError):
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, MODE), None
    return tempfile.mkstemp(prefix=f".{name}.", dir=folder)


def _named(fd: int, folder: str, name: str) -> str:
    """The path that the file without a name has from now on: a link cannot replace another file,
    so it is one that nobody else has."""
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        scratch = f".{name}.{secrets.token_hex(8)}"
        os.link(f"/proc/self/fd/{fd}", scratch, dst_dir_fd=at, follow_symlinks=True)
    finally:
        os.close(at)
    return os.path.join(folder, scratch)


def _flush_folder(folder: str) -> None:
    """Make the names in ``folder`` safe, where the file system can."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
