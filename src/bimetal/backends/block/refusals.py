"""Why the host does not open an image, and what to do about it."""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress

from bimetal.backends.block.commands import create_command, quoted, rebase_command
from bimetal.backends.block.formats import RAW
from bimetal.backends.block.purpose import Purpose
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["cannot_open", "empty", "in_use", "no_disk"]

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)

KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
}


def cannot_open(path: str, purpose: Purpose, error: OSError) -> BimetalError:
    """The error for an image that the host does not open."""
    called = purpose.called(path)
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return _missing(path, purpose)
        case errno.EACCES | errno.EPERM | errno.EROFS | errno.ETXTBSY:
            return _not_permitted(path, purpose, error)
        case errno.EBUSY:
            return BimetalError(
                f"{called} is in use: it is mounted, or another machine has it",
                f"unmount it (findmnt {quoted(path)} says where), end that machine, or open "
                "it with readonly",
                ExitCode.UNAVAILABLE,
            )
        case errno.ELOOP:
            cause, remedy = "is a link that leads in a circle", "change the link"
        case errno.ENAMETOOLONG:
            cause, remedy = "has too long a name", "give it a shorter one"
        case errno.EMFILE | errno.ENFILE:
            cause, remedy = "is one file too many for the host", "raise the limit: ulimit -n 4096"
        case errno.ENXIO | errno.ENODEV | errno.ENOMEDIUM:
            cause, remedy = "is a device without a medium", "insert one, or name another device"
        case _:
            cause = f"cannot be opened: {error.strerror}"
            remedy = "check the host's disk; the end of the output of dmesg may tell more"
    return BimetalError(f"{called} {cause}", remedy, ExitCode.NO_INPUT)


def no_disk(path: str, purpose: Purpose, mode: int) -> BimetalError:
    """The error for what is neither a file nor a block device."""
    what = "a folder"
    if not stat.S_ISDIR(mode):
        what = f"neither file nor disk, but {KINDS.get(stat.S_IFMT(mode), 'something else')}"
    return BimetalError(
        f"{purpose.called(path)} is {what}", "name a file or a block device", ExitCode.DATA
    )


def empty(path: str, purpose: Purpose, block_device: bool) -> BimetalError:
    """The error for an image of no bytes."""
    called = purpose.called(path)
    if block_device:
        return BimetalError(
            f"{called} is a device without a medium",
            "insert one, or name another device",
            ExitCode.NO_INPUT,
        )
    remedy = "copy it again: it may have been cut off"
    if not purpose.only_read:
        remedy += f"; or make a disk of it: {create_command(path, purpose.format)}"
    return BimetalError(f"{called} is empty", remedy, ExitCode.DATA)


def in_use(path: str, purpose: Purpose, fd: int) -> BimetalError:
    """The error for an image that someone has locked; ``fd`` is our own opening of it."""
    called = purpose.called(path)
    if _is_open_here_twice(fd):
        return BimetalError(
            f"{called} is in use by another machine or disk of this program",
            "give each disk an image of its own, which is no other one's backing file, or open it "
            "with snapshot or readonly everywhere",
            ExitCode.UNAVAILABLE,
        )
    remedy = "end that machine, or open the image with snapshot or readonly in both"
    if purpose.over is not None:
        remedy = "end that machine: whoever writes to an image spoils all that lie on it"
    return BimetalError(f"{called} is in use by another machine", remedy, ExitCode.UNAVAILABLE)


def _missing(path: str, purpose: Purpose) -> BimetalError:
    if purpose.is_data:
        return BimetalError(
            f"there is no file {path!r}, in which {purpose.over!r} has its data",
            "put it back: without it, that image is empty",
            ExitCode.NO_INPUT,
        )
    if purpose.over is not None:
        command = rebase_command(purpose.over, purpose.format or RAW, "NEW_PLACE")
        return BimetalError(
            f"there is no disk image {path!r}, on which {purpose.over!r} lies",
            f"put it back; if it was moved, say where to: {command}",
            ExitCode.NO_INPUT,
        )
    cause, remedy = f"there is no disk image {path!r}", "check the path"
    above = _nearest_above(path)
    if ADDRESS.match(path):
        remedy = "that is an address: fetch the image first, and name the file"
    elif os.path.islink(path):
        cause += f": it is a link to {os.readlink(path)!r}, which is not there"
        remedy = "put that file back, or change the link"
    elif above is not None:
        cause += f": {above}"
    elif not purpose.readonly and path.isprintable():
        remedy += f", or make an empty image: {create_command(path, purpose.format)}"
    return BimetalError(cause, remedy, ExitCode.NO_INPUT)


def _nearest_above(path: str) -> str | None:
    """What is wrong with the folders that ``path`` leads through, None if they are there."""
    folder = os.path.dirname(path)
    if not folder or os.path.isdir(folder):
        return None
    while (above := os.path.dirname(folder)) and above != folder and not os.path.isdir(above):
        folder = above
    return (
        f"{folder!r} is no folder" if os.path.lexists(folder) else f"there is no folder {folder!r}"
    )


def _not_permitted(path: str, purpose: Purpose, error: OSError) -> BimetalError:
    called, reason = purpose.called(path), error.strerror
    can_be_read = "open it with readonly or snapshot"
    if (closed := _closed_folder(path)) is not None:
        cause = f"{called} cannot be reached: {reason} in {closed!r}"
        remedy = "change the permissions of that folder, or put the image elsewhere"
    elif purpose.only_read or not os.access(path, os.R_OK, effective_ids=True):
        cause = f"{called} may not be opened: {reason}"
        remedy = "change its permissions, or start the machine as someone who may read it"
    elif error.errno == errno.EROFS and stat.S_ISBLK(os.stat(path).st_mode):
        cause, remedy = f"{called} is a device that cannot be written", can_be_read
    elif error.errno == errno.EROFS:
        cause = f"{called} lies on a file system that is only read"
        remedy = f"{can_be_read}, or copy it elsewhere"
    elif error.errno == errno.ETXTBSY:
        cause = f"{called} is in use by the host, as swap space or as a program"
        remedy = can_be_read
    else:
        cause = f"{called} may not be opened: {reason}"
        remedy = f"{can_be_read}, or change its permissions"
    return BimetalError(cause, remedy, ExitCode.NO_PERMISSION)


def _closed_folder(path: str) -> str | None:
    """The first folder on the way to ``path`` that does not let us through."""
    folder, closed = os.path.dirname(os.path.abspath(path)), None
    while True:
        if os.path.isdir(folder) and not os.access(folder, os.X_OK, effective_ids=True):
            closed = folder
        above = os.path.dirname(folder)
        if above == folder:
            return closed
        folder = above


def _is_open_here_twice(fd: int) -> bool:
    """Whether another descriptor of this process leads to the file of ``fd``."""
    ours = os.fstat(fd)
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if int(name) != fd and os.path.samestat(os.fstat(int(name)), ours):
                return True
    return False
