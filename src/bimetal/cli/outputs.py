"""Files that a command writes on demand, beside what it is for."""

from __future__ import annotations

import errno

from bimetal import BimetalError, ExitCode

__all__ = ["unwritable"]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def unwritable(what: str, error: OSError, instead: str) -> BimetalError:
    """The error for an output file, ``what`` is in it and its name, that the host refuses;
    ``instead`` names where else the output could go."""
    full = error.errno in FULL
    return BimetalError(
        f"{what} cannot be written: {error.strerror}",
        f"make room on its disk, or name another file, or {instead}"
        if full
        else f"name another file, or {instead}",
        ExitCode.IO_ERROR if full or error.errno == errno.EIO else ExitCode.USAGE,
    )
