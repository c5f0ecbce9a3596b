"""A shared folder: what can be done with the files in it, by places that cannot lie outside.

Whatever is done begins with a descriptor that `open_beneath` gave: of the file itself, or of the
folder in which a single name is made, linked, renamed or removed.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from bimetal.backends.share.beneath import held, open_beneath
from bimetal.backends.share.fids import Fid, Listing, OpenFile, failure
from bimetal.backends.share.owners import NONE, Attributes, owners_of, path_of
from bimetal.backends.share.tree import Place
from bimetal.backends.share.wire import Qid
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["Folder"]

FOLDER_TYPE, LINK_TYPE = 0x80, 0x02
"""Types of a qid."""

OPEN_FLAGS = os.O_ACCMODE | os.O_TRUNC | os.O_APPEND | os.O_DSYNC | os.O_SYNC
"""Flags of open(2) that a guest's mean the same as; the dialect has those of Linux on x86."""

DT_DIR, DT_REG, DT_LNK = 4, 8, 10

DEVICE_BITS = 48
"""Bits of an inode's number that stay as they are in a qid; above is the number of its device."""


class Folder:
    """The host's folder at ``path``, in which nothing changes if it is ``readonly``.

    ``security`` is one of `owners.SECURITY_MODELS`. Its methods raise OSError; the constructor
    raises `BimetalError` for what is no folder or cannot be shared.
    """

    def __init__(self, path: str, *, readonly: bool = False, security: str = NONE):
        self.path, self.readonly = path, readonly
        self._fd = _opened(path)
        self._closed = False
        try:
            self.owners = owners_of(security, self._fd, path)
        except BaseException:
            os.close(self._fd)
            raise
        self._devices: dict[int, int] = {}
        self.root = Place()

    @property
    def open_limit(self) -> int:
        """How many files a guest may have open: half of what this process may."""
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return max(16, soft // 2) if soft != resource.RLIM_INFINITY else 1 << 16

    def close(self) -> None:
        """Give the folder back. Idempotent."""
        if not self._closed:
            self._closed = True
            os.close(self._fd)

    # What is there

    @contextmanager
    def at(self, place: Place) -> Iterator[int]:
        """A context with a descriptor of what is at ``place``, by O_PATH."""
        with held(self._fd, place.names) as fd:
            yield fd

    @contextmanager
    def inside(self, place: Place) -> Iterator[int]:
        """A context with a descriptor of the folder at ``place``, where something will change."""
        self.check_writable()
        with held(self._fd, place.names, os.O_PATH | os.O_DIRECTORY) as fd:
            yield fd

    @contextmanager
    def of(self, fid: Fid) -> Iterator[int]:
        """A context with a descriptor of what ``fid`` means: what is open, though it may have been
        deleted, or else what is at its place."""
        if fid.file is not None:
            yield fid.file.fd
        else:
            with self.at(fid.place) as fd:
                yield fd

    def check_writable(self) -> None:
        """Raise OSError if nothing may change."""
        if self.readonly:
            raise failure(errno.EROFS)

    def qid(self, place: Place) -> Qid:
        """The qid of what is at ``place``."""
        with self.at(place) as fd:
            return self.qid_of(self.owners.look(fd))

    def qid_of(self, found: Attributes) -> Qid:
        """The qid of a file with these attributes."""
        host = found.host
        kind = FOLDER_TYPE * stat.S_ISDIR(found.mode) | LINK_TYPE * stat.S_ISLNK(found.mode)
        version = (host.st_mtime_ns ^ host.st_size << 8) & 0xFFFF_FFFF
        return Qid(kind, version, self.number(host.st_ino, host.st_dev))

    def number(self, inode: int, device: int) -> int:
        """A number for an inode that is not that of one on another file system."""
        number = self._devices.setdefault(device, len(self._devices))
        return (inode ^ number << DEVICE_BITS) & 0xFFFF_FFFF_FFFF_FFFF

    def entry(self, entry: os.DirEntry[str], device: int) -> tuple[Qid, int]:
        """The qid of an entry of a folder, without version, and its kind as readdir(3) tells it: 0
        where only the file itself knows, and guests have to ask."""
        is_link, is_folder = entry.is_symlink(), entry.is_dir(follow_symlinks=False)
        kind = DT_LNK if is_link else DT_DIR if is_folder else 0
        if entry.is_file(follow_symlinks=False) and not self.owners.hides_kinds:
            kind = DT_REG
        qid_type = FOLDER_TYPE * is_folder | LINK_TYPE * is_link
        return Qid(qid_type, 0, self.number(entry.inode(), device)), kind

    # Opening

    def open(self, place: Place, flags: int) -> OpenFile:
        """Open the file or folder at ``place``; nothing else: whoever opens a device or a FIFO of
        the host does something to it."""
        with self.at(place) as found:
            mode = os.fstat(found).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise failure(errno.ELOOP if stat.S_ISLNK(mode) else errno.EOPNOTSUPP)
            flags &= OPEN_FLAGS
            if flags & (os.O_ACCMODE | os.O_TRUNC):
                self.check_writable()
            if stat.S_ISDIR(mode):
                flags = flags & os.O_ACCMODE | os.O_DIRECTORY
            fd = os.open(path_of(found), flags | os.O_CLOEXEC | os.O_NOCTTY)
        return self._file(fd, flags & ~os.O_TRUNC)

    def create(
        self, parent: Place, name: bytes, flags: int, mode: int, uid: int, gid: int
    ) -> OpenFile:
        """Make a file, or open the one that is there, unless the flags say that there is none."""
        self.check_writable()
        kept = flags & OPEN_FLAGS
        wanted = kept | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY
        kind = stat.S_IFREG | mode & 0o7777
        host_mode = self.owners.file_mode(kind)
        names = [*parent.names, name]
        try:
            fd = open_beneath(self._fd, names, wanted | os.O_EXCL, host_mode)
            new = True
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
            fd, new = open_beneath(self._fd, names, wanted, host_mode), False
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise failure(errno.EOPNOTSUPP)
            os.set_blocking(fd, True)
            if new:
                self.owners.made(fd, kind, uid, gid)
        except BaseException:
            os.close(fd)
            raise
        return self._file(fd, kept & ~os.O_TRUNC)

    @staticmethod
    def _file(fd: int, flags: int) -> OpenFile:
        try:
            is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
            return OpenFile(fd, flags, Listing(fd) if is_folder else None)
        except BaseException:
            os.close(fd)
            raise

    # Changes

    def mkdir(self, parent: Place, name: bytes, mode: int, uid: int, gid: int) -> Qid:
        """Make a folder."""
        kind = stat.S_IFDIR | mode & 0o7777
        with self.inside(parent) as folder:
            os.mkdir(name, self.owners.file_mode(kind), dir_fd=folder)
            return self._own(parent, name, kind, uid, gid)

    def symlink(self, parent: Place, name: bytes, target: bytes, uid: int, gid: int) -> Qid:
        """Make a symbolic link, which the guest alone follows."""
        with self.inside(parent) as folder:
            self.owners.symlink(folder, name, target)
            return self._own(parent, name, stat.S_IFLNK | 0o777, uid, gid)

    def mknod(self, parent: Place, name: bytes, mode: int, device: int, uid: int, gid: int) -> Qid:
        """Make a special file."""
        with self.inside(parent) as folder:
            self.owners.mknod(folder, name, mode, device)
            return self._own(parent, name, mode, uid, gid, device)

    def link(self, old: Place, parent: Place, name: bytes) -> None:
        """Give what is at ``old`` another name."""
        if old.parent is None:
            raise failure(errno.EPERM)
        with self.inside(old.parent) as source, self.inside(parent) as folder:
            os.link(old.name, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)

    def rename(self, old: Place, parent: Place, name: bytes) -> None:
        """Move what is at ``old``; its place, and all that lies below, moves along."""
        if old.parent is None:
            raise failure(errno.EBUSY)
        with self.inside(old.parent) as source, self.inside(parent) as folder:
            os.rename(old.name, name, src_dir_fd=source, dst_dir_fd=folder)
        if (old.parent, old.name) != (parent, name):
            old.move(parent, name)

    def truncate(self, fd: int, size: int) -> None:
        """Give the file that ``fd`` is open on another size."""
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise failure(errno.EINVAL)
        os.truncate(path_of(fd), size)

    @staticmethod
    def set_times(fd: int, accessed: int | None, modified: int | None) -> None:
        """Set times of the file that ``fd`` is open on, in nanoseconds; -1 is now, None leaves one
        as it is."""
        path, before = path_of(fd), os.fstat(fd)
        if -1 in (accessed, modified):
            os.utime(path)
        now = os.fstat(fd)
        times = [
            old if wanted is None else new if wanted == -1 else wanted
            for wanted, old, new in (
                (accessed, before.st_atime_ns, now.st_atime_ns),
                (modified, before.st_mtime_ns, now.st_mtime_ns),
            )
        ]
        os.utime(path, ns=(times[0], times[1]))

    def remove(self, parent: Place, name: bytes, *, is_folder: bool) -> None:
        """Remove a file or an empty folder."""
        with self.inside(parent) as folder:
            (os.rmdir if is_folder else os.unlink)(name, dir_fd=folder)
        parent.remove(name)

    def _own(
        self, parent: Place, name: bytes, mode: int, uid: int, gid: int, device: int = 0
    ) -> Qid:
        """Give what was just made to whom it belongs; its qid."""
        place = parent.child(name)
        with self.at(place) as fd:
            self.owners.made(fd, mode, uid, gid, device)
        return self.qid(place)


def _opened(path: str) -> int:
    """A descriptor of the folder at ``path``. Raises `BimetalError`."""
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            raise BimetalError(
                f"{path} is a link to {os.readlink(path)}, and links are not shared",
                "name the folder itself",
                ExitCode.USAGE,
            )
        if not stat.S_ISDIR(mode):
            raise BimetalError(
                f"{path} is no folder, and only folders are shared",
                "name the folder that it lies in, or give the machine the file as a disk",
                ExitCode.USAGE,
            )
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a path has no zero bytes"
        raise BimetalError(
            f"the folder {path!r} cannot be shared: {reason}",
            "name a folder that is there and that you may read",
            ExitCode.NO_INPUT,
        ) from error
    try:
        with held(fd, [], os.O_RDONLY | os.O_DIRECTORY):
            return fd
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.ENOSYS, errno.EPERM):
            raise BimetalError(
                "the host has no system call openat2, without which no folder is shared",
                "use Linux 5.6 or newer; a container's seccomp profile may forbid it too",
                ExitCode.UNAVAILABLE,
            ) from error
        raise BimetalError(
            f"the folder {path!r} cannot be shared: {error.strerror}",
            "name a folder that is there and that you may read",
            ExitCode.NO_PERMISSION,
        ) from error
