"""The file, or block device, that holds an image: opened, locked, flushed and closed."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable

from bimetal.backends.block import refusals
from bimetal.backends.block.commands import quoted, unused
from bimetal.backends.block.lock import (
    LocksUnsupported,
    has_locks,
    lock_image,
    share_image,
    unlock_image,
)
from bimetal.backends.block.purpose import Purpose
from bimetal.backends.block.threshold import Threshold
from bimetal.backends.block.vector import PromptReader
from bimetal.backends.handing import status_of, take
from bimetal.base.log import EventLog
from bimetal.base.threads import Lock

__all__ = ["BLKROGET", "ImageFile"]

BLKROGET = 0x125E
"""The ioctl that tells whether a block device is only read: root may open it for writing."""


class ImageFile:
    """The descriptor ``fd`` of the image at ``path``, locked against other machines unless
    ``lock`` is False; ``length`` is that of the file in bytes when it was opened.

    Raises `BimetalError` for an image that is missing, not to be opened, not a disk, or in use.
    """

    def __init__(self, path: str, purpose: Purpose, *, lock: bool = True):
        self.path, self.readonly = path, purpose.only_read
        self.log = EventLog(f"block.{path}")
        self.fd = _open(path, purpose)
        try:
            self.block_device = stat.S_ISBLK(os.fstat(self.fd).st_mode)
            self.length = os.lseek(self.fd, 0, os.SEEK_END)
            if self.block_device and not self.readonly and _is_only_read(self.fd):
                error = OSError(errno.EROFS, os.strerror(errno.EROFS))
                raise refusals.cannot_open(path, purpose, error)
            if self.length == 0 and not purpose.is_data:
                raise refusals.empty(path, purpose, self.block_device)
            self._locks = lock
            self.exclusive = self._lock(purpose) if lock else has_locks(self.fd)
            """Whether locks keep other machines off it: the host has some for this file."""
        except BaseException:
            os.close(self.fd)
            raise
        self.prompt = PromptReader(self.fd)
        """Reads what the host has in memory."""
        self.threshold: Threshold | None = None
        """Is told how far the image comes in the file."""
        self._lost: OSError | None = None
        self._syncing = Lock()
        self._left: tuple[int, ...] | None = None
        """What the file was when it was let go."""
        self._deleted = False
        self._closed = False

    def refresh(self) -> None:
        """Look again how long the file is."""
        self.length = os.lseek(self.fd, 0, os.SEEK_END)

    def flush(self) -> None:
        """Return once all that was written before is safe from a crash of the host.

        After a failure every later flush fails too: the kernel drops the pages that it could not
        write, reports that once, and would call the next flush a success (fsync(2), "errors").
        """
        sync = self.flushing()
        if sync is not None:
            sync()

    def flushing(self) -> Callable[[], None] | None:
        """`flush` in two parts: what this returns, if there is anything to be done, waits for the
        host, and may be called by any thread. Both raise OSError."""
        self._check_lost()
        if self.readonly:
            return None
        self._tell_if_deleted()
        return self._sync

    def flush_all(self) -> None:
        """`flush`, and what the host tells of the file is safe, too: its attributes."""
        self._sync_by(os.fsync)

    def make_safe(self, offset: int, data: bytes) -> None:
        """Return once ``data``, which was just written at ``offset``, is safe from a crash of the
        host, and the file is as long as that takes. Of what else was written nothing is said, so
        it is not waited for. Fails as `flush` does."""
        self._sync_by(lambda fd: _write_safely(fd, offset, data))

    def _sync(self) -> None:
        self._sync_by(os.fdatasync)

    def _sync_by(self, sync: Callable[[int], None]) -> None:
        with self._syncing:  # of two side by side, the kernel would tell one of a failure
            self._check_lost()
            try:
                sync(self.fd)
            except OSError as error:
                self._lost = error
                raise

    def _check_lost(self) -> None:
        if self._lost is not None:
            raise OSError(self._lost.errno, f"an earlier flush failed: {self._lost.strerror}")

    def let_go(self) -> None:
        """Let another machine have the image, and use it no more until `take_again`. Raises
        OSError."""
        self.flush()
        self._left = self._stamp()
        if self._locked:
            unlock_image(self.fd)

    @property
    def away(self) -> bool:
        """Whether it was let go: another machine may have it, and nothing is written."""
        return self._left is not None

    def take_again(self) -> None:
        """Have the image again that was let go. Raises BlockingIOError if another machine has it,
        and OSError (ESTALE) if one has changed it."""
        try:
            if self._locked:
                lock_image(self.fd, writing=not self.readonly)
            if self._left not in (None, self._stamp()):
                raise OSError(errno.ESTALE, f"{self.path} was changed meanwhile")
        except OSError:
            if self._locked:
                unlock_image(self.fd)  # or what was asked for would keep others off
            raise
        self._left = None

    @property
    def _locked(self) -> bool:
        """Whether it has a lock whenever it is not let go."""
        return self._locks and self.exclusive

    def _stamp(self) -> tuple[int, ...]:
        found = status_of(self.path)
        return found.st_size, found.st_mtime_ns, found.st_ino

    def close(self) -> None:
        """Flush, and close. A failing flush is reported as an event of the host. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            self.flush()
        except OSError as error:
            self.log.host_error("the last writes may be lost", str(error))
        finally:
            os.close(self.fd)

    def unseal(self) -> None:
        """Have the file written from now on, too, which was only read; its number stays the same.
        Raises `BimetalError` if it is in use, or cannot be written."""
        if not self.readonly or self._closed:
            return
        purpose = Purpose()
        opened = fcntl.fcntl(self.fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
        fresh = self.fd if opened else _open(self.path, purpose)
        try:
            if not os.path.sameopenfile(fresh, self.fd):
                raise refusals.cannot_open(self.path, purpose, OSError(errno.ESTALE, "replaced"))
            if self._locks:
                self._lock_to_write(fresh, purpose)
            if fresh != self.fd:
                os.dup2(fresh, self.fd, inheritable=False)
        finally:
            if fresh != self.fd:
                os.close(fresh)
        self.readonly = False
        self.refresh()

    def _lock_to_write(self, fresh: int, purpose: Purpose) -> None:
        try:
            lock_image(fresh, writing=True, in_place_of=None if fresh == self.fd else self.fd)
        except BlockingIOError as error:
            if fresh == self.fd:
                share_image(fresh)
            raise refusals.in_use(self.path, purpose, fresh) from error
        except LocksUnsupported:
            pass  # it was told when the file was opened

    def seal(self) -> None:
        """Have the file only read from now on: others may read it, too. Raises OSError if what was
        written cannot be made safe; then it is still written."""
        if self._closed:
            return
        self.flush()
        self.readonly = True
        share_image(self.fd)

    @property
    def removed(self) -> bool:
        """Whether no path leads to the file any more. Raises OSError."""
        return not os.fstat(self.fd).st_nlink

    def _tell_if_deleted(self) -> None:
        """Somebody removed or replaced the file; as long as we have it, it can be saved."""
        if self._deleted or not self.removed:
            return
        self._deleted = True
        place = f"/proc/{os.getpid()}/fd/{self.fd}"
        self.log.host_error(
            "the image has been deleted, and will be gone when the machine ends",
            f"have the guest write no more, and save it: cp {place} {quoted(unused(self.path))}",
        )

    def _lock(self, purpose: Purpose) -> bool:
        """Whether it could be locked."""
        try:
            lock_image(self.fd, writing=not self.readonly)
        except BlockingIOError as error:
            raise refusals.in_use(self.path, purpose, self.fd) from error
        except LocksUnsupported:
            self.log.host_error("no locks on this file system: do not start a second machine")
            return False
        return True


def _write_safely(fd: int, offset: int, data: bytes) -> None:
    """Write what is there already once more, and wait until it is safe (pwritev2(2), RWF_DSYNC):
    if that fails, then not for want of room."""
    try:
        written = os.pwritev(fd, [data], offset, os.RWF_DSYNC)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        written = 0
    if written < len(data):
        os.fdatasync(fd)


def _is_only_read(fd: int) -> bool:
    try:
        answer = fcntl.ioctl(fd, BLKROGET, bytes(4))
    except OSError:
        return False
    return any(answer)


def _open(path: str, purpose: Purpose) -> int:
    flags = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    flags |= os.O_RDONLY if purpose.only_read else os.O_RDWR
    try:
        handed = take(path, only_read=purpose.only_read)
        fd = _opened(path, purpose, flags) if handed is None else handed
        fd = _above_standard_streams(fd)
    except ValueError as error:  # a zero byte in the path
        missing = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        raise refusals.cannot_open(path, purpose, missing) from error
    except OSError as error:
        raise refusals.cannot_open(path, purpose, error) from error
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):  # something else has come meanwhile
        os.close(fd)
        raise refusals.no_disk(path, purpose, mode)
    return fd


def _opened(path: str, purpose: Purpose, flags: int) -> int:
    """The file, opened. Raises OSError, and `BimetalError` for what can be no disk."""
    # Before it is opened: to open a character device may set something going.
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise refusals.no_disk(path, purpose, mode)
    if stat.S_ISBLK(mode) and not purpose.only_read:
        flags |= os.O_EXCL  # refuses a device that the host has mounted
    return os.open(path, flags)


def _above_standard_streams(fd: int) -> int:
    """``fd``, or a copy with another number if it got that of a standard stream that was closed:
    or else the next message on standard error would be written into the image."""
    if fd > 2:
        return fd
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return copy
