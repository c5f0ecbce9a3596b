"""Which files were disks of guests as raw images: it is written down beside their bytes.

A guest writes what it likes into a raw image, also what another format begins with; the image
must be raw to us the next day all the same. So whenever a guest may write to one, an extended
attribute of the file says so, which no guest can reach. It holds the size too: a file of another
size, which we never change, has other content.
"""

from __future__ import annotations

import os
from contextlib import suppress

from bimetal.backends.block.file import ImageFile

__all__ = ["forget_raw", "remember_raw", "was_raw"]

ATTRIBUTE = "user.bimetal.raw"


def was_raw(file: ImageFile) -> bool:
    """Whether a guest may have written to ``file`` as a raw image, and nobody else since."""
    try:
        return os.getxattr(file.fd, ATTRIBUTE) == _value(file)
    except OSError:
        return False


def remember_raw(file: ImageFile) -> bool:
    """Write down, safe from crashes, that ``file`` is raw; False where the host cannot: on block
    devices, and on file systems without such attributes. Raises OSError."""
    if was_raw(file):
        return True
    try:
        os.setxattr(file.fd, ATTRIBUTE, _value(file))
    except OSError:
        return False
    file.flush_all()  # which tells of what a guest has written, too, and tells it once
    return True


def forget_raw(file: ImageFile) -> None:
    """Forget that ``file`` was a raw image, because the user says that it is not."""
    with suppress(OSError):
        os.removexattr(file.fd, ATTRIBUTE)


def _value(file: ImageFile) -> bytes:
    return str(file.length).encode()
