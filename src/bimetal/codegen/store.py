"""The store of compiled code on disk, shared by runs, machines and processes.

It holds native code that will be executed, so it is treated like an installed program: the folder
and the file belong to the user alone, and content whose digest is wrong is never used. What an
object was made from (guest code, descriptions, code generator, LLVM, host CPU) is in its key, so
another version of anything finds nothing rather than something wrong. SQLite keeps concurrent
processes and crashes from damaging it; a damaged file is set aside and a new one begun. Every
failure of the disk is a miss: the store only ever saves time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import stat
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.clock import wall_seconds
from ..base.errors import BimetalError
from ..base.log import logger

__all__ = ["CodeStore", "Usage", "store_folder"]

_log = logger("store")
DEFAULT_LIMIT = 512 << 20
_SCHEMA = """
CREATE TABLE IF NOT EXISTS object (
    key TEXT NOT NULL, part TEXT NOT NULL, digest BLOB NOT NULL, content BLOB NOT NULL,
    used INTEGER NOT NULL, PRIMARY KEY (key, part)
) WITHOUT ROWID
"""


def store_folder() -> Path:
    """Where compiled code is kept: ``$XDG_CACHE_HOME/bimetal/code`` (or ``~/.cache``)."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "bimetal" / "code"


@dataclass(frozen=True, slots=True)
class Usage:
    """How full the store is. ``size`` counts the objects' bytes."""

    path: Path
    objects: int
    size: int


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


class CodeStore:
    """Objects by key and part. Calls may come from any thread."""

    def __init__(self, folder: Path | None = None, limit: int = DEFAULT_LIMIT):
        self.path = (folder or store_folder()) / "code.sqlite"
        self._claims = self.path.with_name("afterwards.lock")
        self._limit = limit
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        try:
            self._open()
        except (OSError, sqlite3.Error) as error:
            _log.info("compiled code is not kept: %s", error)

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._check_owner()
        try:
            self._connect()
        except sqlite3.DatabaseError as error:
            if not self.path.exists() or isinstance(error, sqlite3.OperationalError):
                raise
            aside = self.path.with_suffix(f".damaged-{wall_seconds()}")
            _log.warning("%s is damaged (%s): set aside as %s", self.path, error, aside)
            os.replace(self.path, aside)
            self._connect()

    def _connect(self) -> None:
        handle = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.close(handle)
        connection = sqlite3.connect(
            self.path, timeout=5, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(_SCHEMA)
        self._connection = connection

    def _check_owner(self) -> None:
        """Refuse a place where others could put code for us to run."""
        for path in (self.path.parent, self.path):
            if not path.exists():
                continue
            status = path.stat()
            if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise BimetalError(
                    f"{path} can be written by others, so compiled code in it cannot be trusted",
                    f"chmod -R go-w {path}, or remove it",
                )

    def get(self, key: str, part: str = "") -> bytes | None:
        """The object under a key, if it is whole."""
        for name, content in self.parts(key):
            if name == part:
                return content
        return None

    def parts(self, key: str) -> list[tuple[str, bytes]]:
        """Every part under a key with its content, whole ones only."""
        rows = self._run("SELECT part, digest, content FROM object WHERE key = ?", (key,))
        whole = [(part, content) for part, digest, content in rows if _digest(content) == digest]
        if len(whole) < len(rows):
            _log.warning("damaged objects under %s are dropped", key)
            self._run("DELETE FROM object WHERE key = ?", (key,))
        return whole

    def keys(self) -> set[str]:
        """Every key."""
        return {str(key) for (key,) in self._run("SELECT DISTINCT key FROM object", ())}

    def touch(self, keys: Iterable[str]) -> None:
        """Note that keys were used, so that pruning takes others first."""
        now = wall_seconds()
        for key in keys:
            self._run("UPDATE object SET used = ? WHERE key = ?", (now, key))

    def put(self, key: str, content: bytes, part: str = "") -> None:
        """Store an object."""
        row = (key, part, _digest(content), content, wall_seconds())
        self._run("INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?)", row)

    def usage(self) -> Usage:
        """How much is stored."""
        rows = self._run("SELECT count(*), coalesce(sum(length(content)), 0) FROM object", ())
        count, size = rows[0] if rows else (0, 0)
        return Usage(self.path, count, size)

    def prune(self, limit: int | None = None) -> int:
        """Remove what was used longest ago until ``limit`` bytes are left; how many went."""
        limit = self._limit if limit is None else limit
        removed, size = 0, self.usage().size
        rows = self._run("SELECT key, part, length(content) FROM object ORDER BY used", ())
        for key, part, length in rows:
            if size <= limit:
                break
            self._run("DELETE FROM object WHERE key = ? AND part = ?", (key, part))
            size -= length
            removed += 1
        if removed:
            self._run("VACUUM", ())
        return removed

    def claim(self) -> int | None:
        """The right to add objects in the background: a file descriptor that stands for it until
        it is closed everywhere, or None while another process has it."""
        try:
            handle = os.open(self._claims, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return None
        return handle

    def is_claimed(self) -> bool:
        """Whether some process adds objects in the background."""
        try:
            handle = os.open(self._claims, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(handle)
        return False

    def close(self) -> None:
        """Keep the store within its limit and close it. Idempotent."""
        if self._connection is not None:
            self.prune()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _run(self, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._lock:
            if self._connection is None:
                return []
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                _log.info("the store of compiled code failed: %s", error)
                return []
