"""The file, or block device, that holds an image: opened, locked, flushed and closed."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from bimetal.backends.block.lock import LocksUnsupported, lock_image
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.log import EventLog

__all__ = ["ImageFile"]


class ImageFile:
    """The descriptor ``fd`` of the image at ``path``, locked against other machines unless
    ``lock`` is False; ``length`` is that of the file in bytes when it was opened.

    Raises `BimetalError` for an image that is missing, not to be opened, not a disk, or in use.
    """

    def __init__(self, path: str, *, readonly: bool, lock: bool):
        self.path, self.readonly = path, readonly
        self.log = EventLog(f"block.{path}")
        self.fd = _open(path, readonly)
        try:
            mode = os.fstat(self.fd).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
                raise _not_a_disk(
                    path, "a folder" if stat.S_ISDIR(mode) else "neither file nor disk"
                )
            self.block_device = stat.S_ISBLK(mode)
            self.length = os.lseek(self.fd, 0, os.SEEK_END)
            if self.length == 0:
                raise BimetalError(
                    f"the disk image {path!r} is empty",
                    f"give it a size: truncate -s 8G {path}",
                    ExitCode.DATA,
                )
            if lock:
                self._lock()
        except BaseException:
            os.close(self.fd)
            raise
        self._lost: OSError | None = None
        self._closed = False

    def flush(self) -> None:
        """Return once all that was written before is safe from a crash of the host.

        After a failure every later flush fails too: the kernel drops the pages that it could not
        write, reports that once, and would call the next flush a success (fsync(2), "errors").
        """
        if self._lost is not None:
            raise OSError(self._lost.errno, f"an earlier flush failed: {self._lost.strerror}")
        if self.readonly:
            return
        try:
            os.fdatasync(self.fd)
        except OSError as error:
            self._lost = error
            raise

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

    def _lock(self) -> None:
        try:
            lock_image(self.fd, writing=not self.readonly)
        except BlockingIOError as error:
            raise BimetalError(
                f"the disk image {self.path!r} is in use by another machine",
                "end that machine, or open the image with snapshot or readonly in both",
                ExitCode.UNAVAILABLE,
            ) from error
        except LocksUnsupported:
            self.log.host_error("no locks on this file system: do not start a second machine")


def _open(path: str, readonly: bool) -> int:
    flags = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | (os.O_RDONLY if readonly else os.O_RDWR)
    try:
        if not readonly and stat.S_ISBLK(os.stat(path).st_mode):
            flags |= os.O_EXCL  # refuses a device that the host has mounted
        return _above_standard_streams(os.open(path, flags))
    except OSError as error:
        raise _cannot_open(path, error) from error


def _above_standard_streams(fd: int) -> int:
    """``fd``, or a copy with another number if it got that of a standard stream that was closed:
    or else the next message on standard error would be written into the image."""
    if fd > 2:
        return fd
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return copy


def _cannot_open(path: str, error: OSError) -> BimetalError:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return BimetalError(
                f"there is no disk image {path!r}",
                "check the path, or make an empty image with: truncate -s 8G PATH",
                ExitCode.NO_INPUT,
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return BimetalError(
                f"the disk image {path!r} may not be opened: {error.strerror}",
                "change its permissions, or open it with readonly or snapshot",
                ExitCode.NO_PERMISSION,
            )
        case errno.EBUSY:
            return BimetalError(
                f"the block device {path!r} is in use by the host",
                "unmount it first, or open it with readonly",
                ExitCode.UNAVAILABLE,
            )
        case errno.EISDIR:
            return _not_a_disk(path, "a folder")
    return BimetalError(
        f"the disk image {path!r} cannot be opened: {error.strerror}", "", ExitCode.NO_INPUT
    )


def _not_a_disk(path: str, what: str) -> BimetalError:
    return BimetalError(
        f"{path!r} is {what}, not a disk image", "name a file or a block device", ExitCode.DATA
    )
