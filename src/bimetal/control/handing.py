"""Files that a machine's process has made where it can, for whoever wants them elsewhere."""

from __future__ import annotations

import errno
import os
import shutil

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["check_target", "hand_out"]


def check_target(target: str) -> None:
    """Raise `BimetalError` if there cannot be a file at the path ``target``."""
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        wrong = f"there is no folder {folder}"
    elif os.path.isdir(target):
        wrong = "it is a folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        wrong = f"nothing can be written in {folder}"
    else:
        return
    raise BimetalError(f"{target} cannot be written: {wrong}", "choose another", ExitCode.NO_INPUT)


def hand_out(draft: str, target: str) -> None:
    """Give the file ``draft`` the place ``target``, where it is wholly or not at all. Raises
    `BimetalError`, and then it stays where it is."""
    scratch = f"{target}.{os.getpid()}.part"
    try:
        try:
            os.replace(draft, target)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        try:
            fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file, open(draft, "rb") as made:
                shutil.copyfileobj(made, file)
                file.flush()
                os.fsync(fd)
            os.replace(scratch, target)
        except BaseException:
            if os.path.exists(scratch):
                os.unlink(scratch)
            raise
        os.unlink(draft)
    except OSError as error:
        raise BimetalError(
            f"{target} cannot be written: {error.strerror}",
            f"it is in {draft}: make room, and move it from there",
            ExitCode.IO_ERROR,
        ) from error
