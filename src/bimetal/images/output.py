"""New files, which have no name until they are finished.

What is half done lies beside its place under a name that begins with a dot and ends with ``.part``;
it is removed if the work fails or is interrupted, and only ``kill -9`` leaves it behind.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.purpose import Purpose
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.lasting import lasts, undone
from bimetal.base.paths import same_file
from bimetal.images.opening import telling

__all__ = ["new_file", "refuse_inputs"]


@contextmanager
def new_file(path: str, format: str, inputs: Iterable[str] = ()) -> Iterator[str]:
    """Where to write an image that shall lie at ``path``: beside it, and moved there at the end,
    when it is safe; or a block device itself. What lies there before is replaced.

    Raises `BimetalError` if that is one of ``inputs``, is in use, or cannot be written.
    """
    refuse_inputs(path, inputs)
    with telling(f"the image {path!r} cannot be written"):
        mode = _mode(path)
        if mode is not None and stat.S_ISBLK(mode):
            ImageFile(path, Purpose(format=format)).close()  # in use, or only read?
            yield path
            return
        place = os.path.realpath(path)
        held = _held(place, format) if mode is not None else None
        part = _begin(place, path)

        def remove() -> None:
            with suppress(OSError):
                os.unlink(part)

        lasts(remove)
        try:
            if mode is not None:
                os.chmod(part, stat.S_IMODE(mode))
            yield part
            _make_safe(part)
            os.replace(part, place)
            _make_safe(os.path.dirname(place) or ".")
        finally:
            remove()
            undone(remove)
            if held is not None:
                held.close()


def refuse_inputs(path: str, inputs: Iterable[str]) -> None:
    """Raise `BimetalError` if the file at ``path`` is one of ``inputs``, by whatever link."""
    for other in inputs:
        if same_file(path, other):
            raise BimetalError(
                f"{path!r} is the image {other!r}, which is read",
                "name another file for what is new",
                ExitCode.USAGE,
            )


def _mode(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _held(path: str, format: str) -> ImageFile | None:
    """What lies at ``path`` already, locked until it is replaced."""
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode) and os.path.getsize(path) == 0:
        return None
    return ImageFile(path, Purpose(format=format))


def _begin(place: str, path: str) -> str:
    folder, name = os.path.split(place)
    stem = os.fsdecode(os.fsencode(name)[:200])
    part = os.path.join(folder, f".{stem}.{secrets.token_hex(4)}.part")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    except OSError as error:
        raise BimetalError(
            f"no image can be made at {path!r}: {error.strerror}",
            "name a place in a folder that you may write to",
            ExitCode.NO_PERMISSION if error.errno != 2 else ExitCode.NO_INPUT,
        ) from error
    return part


def _make_safe(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
