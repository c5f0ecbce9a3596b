"""Names of files as they come from a guest."""

from __future__ import annotations

import errno

from bimetal.backends.share.fids import failure
from bimetal.backends.share.wire import Fields

__all__ = ["checked", "new_name"]

NAME_LIMIT = 255


def checked(name: bytes) -> bytes:
    """``name`` if it can be that of a file. Raises OSError."""
    if not name or b"/" in name or b"\0" in name:
        raise failure(errno.ENOENT)
    if len(name) > NAME_LIMIT:
        raise failure(errno.ENAMETOOLONG)
    return name


def new_name(fields: Fields) -> bytes:
    """The next field: the name of a file that is made, renamed or removed. Raises OSError."""
    name = checked(fields.text())
    if name in (b".", b".."):
        raise failure(errno.EINVAL)
    return name
