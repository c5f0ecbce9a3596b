"""Requests for what is known of files besides their contents: attributes, of both kinds."""

from __future__ import annotations

import errno
import os

from bimetal.backends.share.fids import Attribute, Fid, failure
from bimetal.backends.share.session import Handlers, Session
from bimetal.backends.share.wire import Fields, Kind, packed

__all__ = ["HANDLERS"]

SET_MODE, SET_UID, SET_GID, SET_SIZE = 1, 2, 4, 8
SET_ATIME, SET_MTIME, ATIME_GIVEN, MTIME_GIVEN = 0x10, 0x20, 0x80, 0x100
"""Bits of what a Tsetattr sets."""

BASIC_ATTRIBUTES = 0x7FF
ATTRIBUTE_LIMIT = 64 << 10
FS_MAGIC = 0x0102_1997


def statfs(session: Session, fields: Fields) -> bytes:
    with session.folder.of(session.fid(fields)) as fd:
        found = os.fstatvfs(fd)
    counts = (found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree)
    return packed("II6QI", FS_MAGIC, found.f_bsize, *counts, 0, found.f_namemax)


def getattr(session: Session, fields: Fields) -> bytes:
    with session.folder.of(session.fid(fields)) as fd:
        found = session.folder.owners.look(fd)
    host = found.host
    times = [
        part
        for ns in (host.st_atime_ns, host.st_mtime_ns, host.st_ctime_ns)
        for part in divmod(ns, 10**9)
    ]
    return (
        packed("Q", BASIC_ATTRIBUTES)
        + session.folder.qid_of(found).pack()
        + packed("III", found.mode, found.uid, found.gid)
        + packed("5Q", host.st_nlink, found.rdev, host.st_size, host.st_blksize, host.st_blocks)
        + packed("6q4Q", *times, 0, 0, 0, 0)
    )


def setattr(session: Session, fields: Fields) -> bytes:
    fid, valid = session.fid(fields), fields.u32()
    mode, uid, gid, size = fields.u32(), fields.u32(), fields.u32(), fields.u64()
    times = [fields.u64() * 10**9 + fields.u64() for _ in range(2)]
    session.folder.check_writable()
    owners = session.folder.owners
    with session.folder.of(fid) as fd:
        if valid & SET_SIZE:
            session.folder.truncate(fd, size)
        if valid & (SET_UID | SET_GID):
            owners.chown(fd, uid if valid & SET_UID else -1, gid if valid & SET_GID else -1)
        if valid & SET_MODE:
            owners.chmod(fd, mode)
        if valid & (SET_ATIME | SET_MTIME):
            session.folder.set_times(
                fd,
                _time(valid, SET_ATIME, ATIME_GIVEN, times[0]),
                _time(valid, SET_MTIME, MTIME_GIVEN, times[1]),
            )
    return b""


def xattrwalk(session: Session, fields: Fields) -> bytes:
    fid, number, name = session.fid(fields), fields.u32(), fields.text()
    session.fids.check_new(number)
    with session.folder.of(fid) as fd:
        data = session.folder.owners.attribute(fd, name)
    session.fids.add(number, Fid(fid.place, fid.uid, attribute=Attribute(name, bytearray(data))))
    return packed("Q", len(data))


def xattrcreate(session: Session, fields: Fields) -> bytes:
    fid, name, size, flags = session.fid(fields), fields.text(), fields.u64(), fields.u32()
    session.folder.check_writable()
    if fid.file is not None or fid.attribute is not None:
        raise failure(errno.EBADF)
    if size > ATTRIBUTE_LIMIT:
        raise failure(errno.E2BIG)
    if not session.folder.owners.allows(os.fsdecode(name)):
        raise failure(errno.EOPNOTSUPP)
    fid.attribute = Attribute(name, bytearray(size), flags & 3)
    return b""


HANDLERS: Handlers = {
    Kind.STATFS: statfs,
    Kind.GETATTR: getattr,
    Kind.SETATTR: setattr,
    Kind.XATTRWALK: xattrwalk,
    Kind.XATTRCREATE: xattrcreate,
}


def _time(valid: int, wanted: int, given: int, time: int) -> int | None:
    """A time in nanoseconds, None to leave it as it is, or -1 for now."""
    if not valid & wanted:
        return None
    return time if valid & given else -1
