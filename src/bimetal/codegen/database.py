"""An SQLite database that may be lost and never gets in the way.

Failures are of two kinds. After a failure by *circumstance* (a full disk, a lock that is not
released, a folder that cannot be written) it answers nothing and does not try again, so that nobody
waits twice. *Damage* is repaired: the file is set aside and a new one created. Processes that have
the old file open notice that it has been moved and open the new one.

A rollback journal makes it safe to kill a process at any moment. Nothing waits for the disk
(``synchronous=OFF``), so a loss of power may do damage. There is no write-ahead log: its index is
mapped into memory, and whoever truncated that file would end every process that uses it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from ..base.clock import wall_seconds
from ..base.errors import BimetalError
from ..base.folders import check_private, make_private
from ..base.late import late
from ..base.log import logger

__all__ = ["Database", "Row"]

_log = logger("store")
Row = tuple[Any, ...]
_T = TypeVar("_T")

COMPANIONS = ("-wal", "-shm", "-journal")
"""Suffixes of the files that SQLite puts beside a database (SQLite, "Temporary Files")."""

BUSY_SECONDS = 5
LOCK_INTERVAL = 0.02
REPLACEMENTS = 3
"""How often a process repairs damage: a disk that damages files more often is of no use."""

LONGEST = 64 << 20
"""Bytes of the longest value accepted: a damaged length must not exhaust memory."""

_CIRCUMSTANCES = {
    sqlite3.SQLITE_ABORT, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}  # fmt: skip
"""Primary result codes that say nothing about the file's content (SQLite, "Result Codes")."""
_HELD = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_UNREADABLE = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}
"""Extended codes of these that do say something about it."""


class Database:
    """One table in a file. Methods may be called from any thread and never raise because of the
    file's content or of what happens to the file."""

    def __init__(self, path: Path, schema: str):
        """Open or create the file at ``path``.

        ``schema`` is its one CREATE statement, exactly as SQLite stores it.
        Raises `BimetalError` if other users can write to its folder.
        """
        self.path = path
        self._schema = schema
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self._writable = False
        self._left = REPLACEMENTS
        with self._lock:
            self._begin()

    @property
    def is_writable(self) -> bool:
        """Whether rows can be changed, as far as is known."""
        return self._connection is not None and self._writable

    def read(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """The rows that a SELECT statement finds, with text as bytes; no rows on any failure."""
        return self._ask(lambda connection: connection.execute(statement, values).fetchall(), [])

    def write(self, statement: str, rows: Sequence[Sequence[object]]) -> int:
        """Execute a statement for each of ``rows`` in one transaction; how many rows of the table
        were changed, 0 on failure."""

        def change(connection: sqlite3.Connection) -> int:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                return connection.executemany(statement, rows).rowcount

        return self._ask(change, 0) if self._writable and rows else 0

    def shrink(self) -> None:
        """Return the space of removed rows to the file system."""
        if self._writable:
            self._ask(lambda connection: connection.execute("VACUUM"), None)

    def _ask(self, question: Callable[[sqlite3.Connection], _T], nothing: _T) -> _T:
        """Ask the file ``question``; if it is damaged or gone, ask a new one. ``nothing`` if no
        answer can be had."""
        with self._lock:
            for _ in range(2):
                if self._connection is None:
                    break
                try:
                    return question(self._connection)
                except Exception as error:
                    if not self._failed(error):
                        break
            return nothing

    def clear(self) -> None:
        """Remove the file and create an empty one, which works on a full disk too.

        Raises OSError if the file cannot be removed.
        """
        with self._lock:
            self._disconnect()
            make_private(self.path.parent)
            with self._alone():
                for path in (*self._companions(), self.path, *self._set_aside_before()):
                    _remove(path)
            self._begin()

    def damaged(self, reason: object) -> None:
        """Set the file aside, unless another process already has, and create a new one."""
        with self._lock:
            self._disconnect()
            if not self._left or not self._writable:
                self._give_up(f"it is damaged, {reason}")
                return
            self._left -= 1
            try:
                with self._alone():
                    if self._identity() == self._opened:
                        self._set_aside(reason)
            except OSError as error:
                self._give_up(error)
            else:
                self._begin_again()

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            self._disconnect()

    # -- opening
    def _begin(self) -> None:
        """Open the file; do without it if that fails."""
        self._writable = True
        try:
            make_private(self.path.parent)
            self._check()
            with self._alone() as locks:
                self._connect("mode=rw" if locks else "mode=rw&nolock=1")
        except BimetalError:
            raise
        except Exception as error:
            if not self._is_circumstance(error):
                self.damaged(error)
            elif _is_held(error) or not _is_file(self.path):
                self._give_up(error)
            else:
                self._begin_reading(error)

    def _begin_again(self) -> None:
        self._disconnect()
        try:
            self._begin()
        except BimetalError as error:
            self._give_up(error)

    def _begin_reading(self, reason: Exception) -> None:
        """Open the file as immutable, where not even SQLite's locks and journal can be written."""
        self._disconnect()
        self._writable = False
        try:
            self._use("mode=ro&immutable=1")
            self._set_up()
            _log.warning("no more compiled code is kept in %s: %s", self.path.parent, reason)
        except Exception:
            self._give_up(reason)

    def _check(self) -> None:
        """Refuse a folder where other users could put code for us to run."""
        check_private(self.path.parent)
        for path in (self.path, *self._companions()):
            with suppress(FileNotFoundError):
                check_private(path)

    def _connect(self, how: str) -> None:
        if not _is_file(self.path):
            self._set_aside("it is no file")
            # Only a new file may be opened here: closing a file drops this process's locks on it.
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        for path in self._companions():
            if not _is_file(path):
                _remove(path)
        self._opened = self._identity()
        self._use(how)
        self._set_up()

    def _use(self, how: str) -> None:
        connection = self._connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?{how}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.text_factory = bytes
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
        for setting in ("cell_size_check=1", "trusted_schema=0", "mmap_size=0"):
            connection.execute(f"PRAGMA {setting}")

    def _set_up(self) -> None:
        assert self._connection is not None
        if self._writable:
            self._keep_no_log()
            self._connection.execute("PRAGMA synchronous=OFF")
        there = self._connection.execute("SELECT sql FROM sqlite_master").fetchall()
        if not there and self._writable:
            self._connection.execute(self._schema)
        elif there != [(self._schema.encode(),)]:
            raise sqlite3.DatabaseError("it holds other tables than ours")

    def _keep_no_log(self) -> None:
        """Switch to a rollback journal; if others have the file open with a log, leave it so."""
        assert self._connection is not None
        self._connection.execute("PRAGMA busy_timeout=0")
        try:
            self._connection.execute("PRAGMA journal_mode=TRUNCATE")
        except sqlite3.OperationalError as error:
            if not _is_held(error):
                raise
        self._connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000:.0f}")

    # -- failing
    def _failed(self, error: Exception) -> bool:
        """Repair damage, or give up for circumstances; whether there is a new file to ask."""
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_DBMOVED:
            self._begin_again()
        elif not self._is_circumstance(error):
            self.damaged(error)
        elif self._writable:
            self._writable = False
            _log.warning("no more compiled code is kept in %s: %s", self.path.parent, error)
            return False
        else:
            self._give_up(error)
        return self.is_writable

    def _is_circumstance(self, error: Exception) -> bool:
        if isinstance(error, OSError | MemoryError):
            return True
        code = getattr(error, "sqlite_errorcode", None)
        if not isinstance(code, int) or code in _UNREADABLE:
            return False
        if code == sqlite3.SQLITE_READONLY and os.access(self.path, os.W_OK):
            return not self._writable  # otherwise a damaged version number in the file says so
        return code & 0xFF in _CIRCUMSTANCES

    def _give_up(self, reason: object) -> None:
        self._disconnect()
        _log.warning("compiled code is not kept in %s: %s", self.path.parent, reason)

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    # -- the file and its companions
    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self.path.lstat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _companions(self) -> list[Path]:
        return [self.path.with_name(self.path.name + end) for end in COMPANIONS]

    def _set_aside_before(self) -> list[Path]:
        return list(self.path.parent.glob(f"{self.path.stem}.damaged-*"))

    def _set_aside(self, reason: object) -> None:
        """Rename the file away. Only the newest damaged file is kept, for examination."""
        # Journals go first: one left behind would be taken for the new file's.
        for path in self._companions():
            _remove(path)
        if self._identity():
            for older in self._set_aside_before():
                _remove(older)
            aside = self.path.with_suffix(f".damaged-{wall_seconds()}")
            self.path.rename(aside)
            _log.warning("%s is damaged (%s): set aside as %s", self.path, reason, aside.name)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Hold the lock under which processes open and replace the file; yields whether the file
        system supports locks. Raises OSError if another process holds it for seconds."""
        path = self.path.with_suffix(".lock")
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            yield _lock_within(handle, BUSY_SECONDS)
        finally:
            os.close(handle)


def _is_held(error: Exception) -> bool:
    """Whether an error says that another process holds a lock, and so may be writing."""
    code = getattr(error, "sqlite_errorcode", 0)
    return isinstance(error, BlockingIOError) or code & 0xFF in _HELD


def _is_file(path: Path) -> bool:
    """Whether the path is a regular file, not a link to one."""
    return path.is_file() and not path.is_symlink()


def _remove(path: Path) -> None:
    """Remove whatever is at the path, a folder with its content too."""
    if path.is_dir() and not path.is_symlink():
        late("shutil:rmtree")(path)
    else:
        path.unlink(missing_ok=True)


def _lock_within(handle: int, seconds: float) -> bool:
    """Lock a file; False if the file system has no locks.

    Raises BlockingIOError if another process holds the lock for longer than ``seconds``.
    """
    pause, left = threading.Event(), seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if left < 0:
                raise
            pause.wait(LOCK_INTERVAL)
            left -= LOCK_INTERVAL
        except OSError:
            return False
