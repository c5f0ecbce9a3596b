"""The cache of compiled objects on disk, by the content of what they were made from.

It holds native code that will be executed, so it is treated like an installed program: the folder
and its files belong to the user alone, and an entry whose digest or owner is wrong is dropped.
Writers make a new file and rename it, so readers see whole entries or none.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
from pathlib import Path

__all__ = ["ObjectCache", "cache_folder"]

_log = logging.getLogger("bimetal.cache")
_MAGIC = b"bimetal object 1\n"


def cache_folder() -> Path:
    """Where compiled code is kept: ``$XDG_CACHE_HOME/bimetal/code`` (or ``~/.cache``)."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "bimetal" / "code"


class ObjectCache:
    """Objects by key. Every failure of the disk is a miss: the cache only ever saves time."""

    def __init__(self, folder: Path | None = None):
        self.folder = folder or cache_folder()

    def get(self, key: str) -> bytes | None:
        """The object stored under a key, if it is whole and ours."""
        path = self.folder / key
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                    _log.warning("%s may have been written by others: not used", path)
                    return None
                content = file.read()
        except OSError:
            return None
        head, digest = len(_MAGIC), hashlib.sha256().digest_size
        payload = content[head + digest :]
        if content[:head] != _MAGIC or hashlib.sha256(payload).digest() != content[head:][:digest]:
            _log.warning("%s is damaged: not used", path)
            path.unlink(missing_ok=True)
            return None
        return payload

    def put(self, key: str, payload: bytes) -> None:
        """Store an object; a disk that refuses is not an error."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=self.folder, prefix="new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_MAGIC + hashlib.sha256(payload).digest() + payload)
                os.rename(name, self.folder / key)
            except BaseException:
                os.unlink(name)
                raise
        except OSError as error:
            _log.info("compiled code is not kept: %s", error)
