"""Files that a machine's process has made where it can, for whoever wants them elsewhere."""

from __future__ import annotations

import errno
import os
import shutil

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["hand_out"]


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
            shutil.copyfile(draft, scratch)
            with open(scratch, "rb") as file:
                os.fsync(file.fileno())
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
