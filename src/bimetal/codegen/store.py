"""The store of compiled code on disk, shared by runs, machines and processes.

It holds native code that will be executed, so it is treated like an installed program: only the
user may write to the folder and the file, and an object is used only if its digest, which also
covers its key and its name, is right. The key covers everything the object was made from (guest
code, descriptions, code generator, LLVM, host CPU), so another version of any of them finds nothing
rather than something wrong. SQLite protects it from concurrent processes and crashes. Every failure
is a miss, and damage is repaired: the store only ever saves time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from ..base.clock import wall_seconds
from ..base.errors import BimetalError, ExitCode
from ..base.folders import cache_home, check_private
from ..base.log import logger
from .database import LONGEST, Database, Row

__all__ = ["CodeStore", "Usage", "store_folder"]

_log = logger("store")
DEFAULT_LIMIT = 512 << 20

TOUCH_SECONDS = 24 * 3600
"""Resolution, in seconds, of the time of last use: updating it rewrites the whole object."""

_LOCK_FLAGS = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW

# Exactly as SQLite stores it, because the two are compared.
_SCHEMA = """\
CREATE TABLE object (
    key TEXT NOT NULL, part TEXT NOT NULL, digest BLOB NOT NULL, content BLOB NOT NULL,
    used INTEGER NOT NULL, PRIMARY KEY (key, part)
) WITHOUT ROWID"""


def store_folder() -> Path:
    """The folder for compiled code: ``bimetal/code`` in the user's `cache_home`.

    Raises `BimetalError` if other users can write there.
    """
    ours = cache_home() / "bimetal"
    with suppress(OSError):  # if it cannot be created, opening the store says so
        check_private(ours)
    return ours / "code"


class Usage(NamedTuple):
    """How full the store is: its path, the number of objects, and their total ``size`` in bytes."""

    path: Path
    objects: int
    size: int


def _digest(key: str, part: str, content: bytes) -> bytes:
    """A digest of an object together with its key and part."""
    names = f"{len(key)} {len(part)} {key}{part}".encode()
    return hashlib.sha256(names + content).digest()


def _text(value: object) -> str:
    """Text from SQLite; anything else, or damaged text, becomes text that matches no digest."""
    return value.decode(errors="replace") if isinstance(value, bytes) else repr(value)


def _is_recent(used: object) -> bool:
    """Whether a time of last use need not be brought up to date."""
    return isinstance(used, int) and 0 <= wall_seconds() - used <= TOUCH_SECONDS


class CodeStore:
    """Objects by key and part. Methods may be called from any thread."""

    def __init__(self, folder: Path | None = None, limit: int = DEFAULT_LIMIT):
        """Open the store in ``folder`` (default: `store_folder`), to be kept below ``limit`` bytes.

        Raises `BimetalError` if other users can write to the folder.
        """
        self.path = (folder or store_folder()) / "code.sqlite"
        self._claims = self.path.with_name("background.lock")
        self._turns = self.path.with_name("turn.lock")
        self._limit = limit
        self._database = Database(self.path, _SCHEMA)

    def get(self, key: str, part: str = "") -> bytes | None:
        """The object under a key and part; None if there is none or it is damaged."""
        for name, content in self.parts(key):
            if name == part:
                return content
        return None

    def parts(self, key: str) -> list[tuple[str, bytes]]:
        """Every undamaged part under a key, with its content. Damaged ones are removed."""
        whole, damaged = [], []
        found = self._database.read(
            "SELECT key, part, digest, content FROM object WHERE key = ?", (key,)
        )
        for kept, name, digest, content in found:
            part = _text(name)
            right = isinstance(content, bytes) and digest == _digest(key, part, content)
            # SQLite does not compare the keys of rows between the first and the last that match.
            if right and kept == key.encode():
                whole.append((part, content))
            else:
                damaged.append((kept, name))
        if damaged:
            _log.warning("damaged objects under %s are dropped", key)
            self._delete(damaged)
        elif not found and self._database.read(
            "SELECT 1 FROM object WHERE +key = ? LIMIT 1", (key,)
        ):
            self._database.damaged("what is there cannot be found")
        return whole

    def drop(self, key: str, part: str) -> None:
        """Remove an object that turned out to be unusable."""
        self._delete([(key.encode(), part.encode())])

    def keys(self, family: str = "") -> set[str]:
        """All keys, or those that begin with the word ``family`` and a space."""
        rows = (
            self._database.read(
                "SELECT key FROM object WHERE key > ? AND key < ?", (f"{family} ", f"{family}!")
            )
            if family
            else self._database.read("SELECT key FROM object")
        )
        keys = [key for (key,) in rows]
        # They come in the order of the tree, by which searches find them.
        if all(isinstance(key, bytes) for key in keys) and keys == sorted(keys):
            return {_text(key) for key in keys}
        self._database.damaged("what is there is not in order")
        return set()

    def has(self, family: str) -> bool:
        """Whether there is a key that begins with the word ``family`` and a space."""
        return bool(
            self._database.read(
                "SELECT 1 FROM object WHERE key > ? AND key < ? LIMIT 1",
                (f"{family} ", f"{family}!"),
            )
        )

    def touch(self, keys: Iterable[str]) -> None:
        """Record that keys were used, so that pruning removes others first."""
        now = wall_seconds()
        self._database.write(
            "UPDATE object SET used = ?1 WHERE key = ?2 AND used NOT BETWEEN ?3 AND ?1",
            [(now, key, now - TOUCH_SECONDS) for key in keys],
        )

    def put(self, key: str, content: bytes, part: str = "") -> None:
        """Store an object, replacing one with the same key and part."""
        if len(content) < LONGEST:
            row = (key, part, _digest(key, part, content), content, wall_seconds())
            self._database.write("INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?)", [row])

    def usage(self) -> Usage:
        """How much is stored."""
        rows = self._database.read("SELECT count(*), total(length(content)) FROM object")
        count, size = rows[0] if rows else (0, 0)
        return Usage(self.path, count, int(size))

    def prune(self, limit: int | None = None) -> int:
        """Remove the least recently used objects until at most ``limit`` bytes are left (default:
        the store's own limit); how many were removed. A limit of 0 needs no space on the disk.

        Raises `BimetalError` if the store cannot be emptied.
        """
        limit, (_, count, size) = self._limit if limit is None else limit, self.usage()
        if limit <= 0:
            self._clear()
            return count - self.usage().objects
        victims = []
        for key, part, length in self._rows() if size > limit else ():
            if size <= limit:
                break
            victims.append((key, part))
            size -= length or 0
        removed = self._delete(victims)
        if removed:
            self._database.shrink()
        return removed

    def _clear(self) -> None:
        try:
            self._database.clear()
        except OSError as error:
            raise BimetalError(
                f"{self.path} cannot be removed: {error.strerror}",
                f"see who may write in {self.path.parent}",
                ExitCode.NO_PERMISSION,
            ) from error

    def _rows(self) -> list[Row]:
        """Key and part of each object as stored, and its size in bytes; the oldest first."""
        return self._database.read("SELECT key, part, length(content) FROM object ORDER BY used")

    def _delete(self, rows: Sequence[tuple[object, object]]) -> int:
        """Remove rows by the bytes of their key and part; how many were removed. A row that exists
        and cannot be removed shows that the file is damaged."""
        removed = self._database.write(
            "DELETE FROM object WHERE key = CAST(? AS TEXT) AND part = CAST(? AS TEXT)", rows
        )
        if removed < len(rows) and self._database.is_writable:
            there = {(key, part) for key, part, _ in self._rows()}
            if not there.isdisjoint(rows):
                self._database.damaged("what is there cannot be removed")
        return removed

    @contextmanager
    def turn(self, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Wait until no other process is in here: what one has compiled need not be compiled again.
        ``waiting`` is called before that takes long. Where there can be no lock, nobody waits."""
        try:
            handle = os.open(self._turns, _LOCK_FLAGS, 0o600)
        except OSError:
            yield
            return
        try:
            with suppress(OSError):
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    waiting()
                    fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def claim(self) -> int | None:
        """Claim the right to add objects in the background: a file descriptor that holds it until
        all copies are closed, or None while another process has it."""
        try:
            handle = os.open(self._claims, _LOCK_FLAGS, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return None
        return handle

    def is_claimed(self) -> bool:
        """Whether a process is adding objects in the background."""
        try:
            handle = os.open(self._claims, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
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
        """Prune the store if it is above its limit, and close it. Idempotent."""
        if self.usage().size > self._limit:
            self.prune(self._limit * 3 // 4)  # further than needed, so that not every run has to
        self._database.close()
