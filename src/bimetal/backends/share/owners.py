"""Whose files are: three ways to keep the owners, modes and kinds that a guest gives its files.

They are the security models of QEMU's 9p server, with its names and, for ``mapped-xattr``, its
attributes, so that a folder can be used with either.
"""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod
from contextlib import suppress
from struct import Struct

import msgspec

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["MAPPED", "NONE", "SECURITY_MODELS", "Attributes", "Owners", "owners_of", "path_of"]

MAPPED, NONE, PASSTHROUGH = SECURITY_MODELS = ("mapped-xattr", "none", "passthrough")

PREFIX = "user.virtfs."
_U32, _U64 = Struct("<I"), Struct("<Q")
LINK_LIMIT = 4095


class Attributes(msgspec.Struct, frozen=True):
    """What a guest is told of a file: mode, owners and device number, and the rest as the host has
    it."""

    mode: int
    uid: int
    gid: int
    rdev: int
    host: os.stat_result


def path_of(fd: int) -> str:
    """A path to exactly the file that ``fd`` is open on, though only by O_PATH."""
    return f"/proc/self/fd/{fd}"


class Owners(ABC):
    """How a folder keeps what belongs to a guest's files. Every method may raise OSError."""

    all_attributes = False
    """Whether guests may use extended attributes other than ``user.*``."""

    hides_kinds = False
    """Whether what looks like a file may be something else to the guest."""

    def file_mode(self, mode: int) -> int:
        """With which mode the host makes a file."""
        return mode & 0o7777

    @abstractmethod
    def look(self, fd: int) -> Attributes:
        """The attributes of the file that ``fd`` is open on."""

    @abstractmethod
    def made(self, fd: int, mode: int, uid: int, gid: int, rdev: int = 0) -> None:
        """A file was made on the host for a guest that wanted it so."""

    @abstractmethod
    def chmod(self, fd: int, mode: int) -> None:
        """Change the permissions."""

    @abstractmethod
    def chown(self, fd: int, uid: int, gid: int) -> None:
        """Change owners; -1 leaves one as it is."""

    @abstractmethod
    def symlink(self, folder: int, name: bytes, target: bytes) -> None:
        """Make a symbolic link, before `made`."""

    @abstractmethod
    def mknod(self, folder: int, name: bytes, mode: int, rdev: int) -> None:
        """Make a FIFO, socket, device or file, before `made`."""

    def readlink(self, fd: int) -> bytes:
        """Where a link leads, which nobody follows here."""
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a link")
        return os.fsencode(os.readlink(b"", dir_fd=fd))

    # Extended attributes

    def allows(self, name: str) -> bool:
        """Whether a guest may see and set the extended attribute ``name``."""
        return self.all_attributes or (name.startswith("user.") and not name.startswith(PREFIX))

    def attribute(self, fd: int, name: bytes) -> bytes:
        """The extended attribute ``name``, or the list of all if that is empty."""
        path = path_of(fd)
        if not name:
            seen = [each for each in os.listxattr(path) if self.allows(each)]
            return b"".join(os.fsencode(each) + b"\0" for each in seen)
        if not self.allows(os.fsdecode(name)):
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        return os.getxattr(path, name)

    def set_attribute(self, fd: int, name: bytes, data: bytes, flags: int) -> None:
        """Set the extended attribute ``name``, or remove it if it is to be empty."""
        if data:
            os.setxattr(path_of(fd), name, data, flags)
        else:
            os.removexattr(path_of(fd), name)


class Plain(Owners):
    """The host's own owners, modes and kinds. If they are ``strict``, a file that cannot be given
    to whom it belongs is an error."""

    def __init__(self, strict: bool):
        self._strict = self.all_attributes = strict

    def look(self, fd: int) -> Attributes:
        host = os.fstat(fd)
        return Attributes(host.st_mode, host.st_uid, host.st_gid, host.st_rdev, host)

    def made(self, fd: int, mode: int, uid: int, gid: int, rdev: int = 0) -> None:
        self.chown(fd, uid, gid)
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            self.chmod(fd, mode)

    def chmod(self, fd: int, mode: int) -> None:
        os.chmod(path_of(fd), mode & 0o7777)

    def chown(self, fd: int, uid: int, gid: int) -> None:
        with suppress(*(() if self._strict else (PermissionError,))):
            os.chown(path_of(fd), uid, gid)

    def symlink(self, folder: int, name: bytes, target: bytes) -> None:
        os.symlink(target, name, dir_fd=folder)

    def mknod(self, folder: int, name: bytes, mode: int, rdev: int) -> None:
        os.mknod(name, mode, rdev, dir_fd=folder)


class Mapped(Owners):
    """Owners, modes and kinds in extended attributes: the host's user owns all files, and links and
    special files are regular ones. What has no such attributes is as the host has it."""

    hides_kinds = True

    def file_mode(self, mode: int) -> int:
        return 0o700 if stat.S_ISDIR(mode) else 0o600

    def look(self, fd: int) -> Attributes:
        host = os.fstat(fd)
        kept: dict[str, int] = {}
        if stat.S_ISREG(host.st_mode) or stat.S_ISDIR(host.st_mode):
            kept = self._kept(path_of(fd))
        mode = kept.get("mode", host.st_mode)
        if stat.S_ISDIR(mode) != stat.S_ISDIR(host.st_mode):
            mode = stat.S_IFMT(host.st_mode) | stat.S_IMODE(mode)
        uid, gid = kept.get("uid", host.st_uid), kept.get("gid", host.st_gid)
        return Attributes(mode, uid, gid, kept.get("rdev", host.st_rdev), host)

    def made(self, fd: int, mode: int, uid: int, gid: int, rdev: int = 0) -> None:
        self._keep(fd, "mode", _U32.pack(mode))
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            self._keep(fd, "rdev", _U64.pack(rdev))
        self.chown(fd, uid, gid)

    def chmod(self, fd: int, mode: int) -> None:
        kind = stat.S_IFMT(self.look(fd).mode)
        self._keep(fd, "mode", _U32.pack(kind | mode & 0o7777))

    def chown(self, fd: int, uid: int, gid: int) -> None:
        for name, value in (("uid", uid), ("gid", gid)):
            if value >= 0:
                self._keep(fd, name, _U32.pack(value))

    def symlink(self, folder: int, name: bytes, target: bytes) -> None:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=folder)
        try:
            os.write(fd, target)
        finally:
            os.close(fd)

    def mknod(self, folder: int, name: bytes, mode: int, rdev: int) -> None:
        os.mknod(name, stat.S_IFREG | 0o600, dir_fd=folder)

    def readlink(self, fd: int) -> bytes:
        if stat.S_ISLNK(os.fstat(fd).st_mode) or not stat.S_ISLNK(self.look(fd).mode):
            return super().readlink(fd)
        file = os.open(path_of(fd), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(file, LINK_LIMIT)
        finally:
            os.close(file)

    @staticmethod
    def _keep(fd: int, name: str, value: bytes) -> None:
        os.setxattr(path_of(fd), PREFIX + name, value)

    @staticmethod
    def _kept(path: str) -> dict[str, int]:
        found = {}
        for name in os.listxattr(path):
            if name.startswith(PREFIX):
                value = os.getxattr(path, name)[:8]
                found[name.removeprefix(PREFIX)] = int.from_bytes(value, "little")
        return found


def owners_of(model: str, folder: int, path: str) -> Owners:
    """The `Owners` of the security model ``model`` for the folder at ``path``, open as ``folder``.

    Raises `BimetalError` if its file system has no extended attributes and the model needs them.
    """
    if model != MAPPED:
        return Plain(strict=model == PASSTHROUGH)
    try:
        os.listxattr(path_of(folder))
        os.getxattr(path_of(folder), PREFIX + "uid")
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            raise BimetalError(
                f"the file system of {path} keeps no extended attributes",
                "share it with security=none, or readonly, or choose another folder",
                ExitCode.UNAVAILABLE,
            ) from error
    return Mapped()
