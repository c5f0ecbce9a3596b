"""Requests for the contents of files and folders."""

from __future__ import annotations

import errno
import os
import stat

from bimetal.backends.share.fids import failure
from bimetal.backends.share.names import new_name
from bimetal.backends.share.session import Handlers, Session
from bimetal.backends.share.wire import HEADER, Fields, Kind, packed, text

__all__ = ["HANDLERS"]

IO_HEADER = HEADER.size + 4
"""What stands before the data in the answer to a read."""

ENTRY_HEADER = 24
"""Bytes of an entry of a folder before its name."""

UNLOCKED = 2


def lopen(session: Session, fields: Fields) -> bytes:
    fid, flags = session.fid(fields), fields.u32()
    session.fids.check_open(fid)
    session.fids.opens(fid, session.folder.open(fid.place, flags))
    return session.qid(fid).pack() + packed("I", 0)


def lcreate(session: Session, fields: Fields) -> bytes:
    fid, name = session.fid(fields), new_name(fields)
    flags, mode, gid = fields.u32(), fields.u32(), fields.u32()
    session.fids.check_open(fid)
    if fid.place.too_deep:
        raise failure(errno.ENAMETOOLONG)
    file = session.folder.create(fid.place, name, flags, mode, fid.uid, gid)
    fid.place = fid.place.child(name)
    session.fids.opens(fid, file)
    return session.qid(fid).pack() + packed("I", 0)


def read(session: Session, fields: Fields) -> bytes:
    fid, offset, count = session.fid(fields), fields.u64(), fields.u32()
    count = min(count, session.room - IO_HEADER)
    if fid.attribute is not None and fid.attribute.flags is None:
        data = bytes(fid.attribute.data[offset : offset + count])
    elif fid.file is not None and fid.file.listing is None:
        data = os.pread(fid.file.fd, max(0, count), offset)
    else:
        raise failure(errno.EBADF)
    return packed("I", len(data)) + data


def write(session: Session, fields: Fields) -> bytes:
    fid, offset, count = session.fid(fields), fields.u64(), fields.u32()
    data = fields.data(count)
    if fid.attribute is not None and fid.attribute.flags is not None:
        if offset + count > len(fid.attribute.data):
            raise failure(errno.ENOSPC)
        fid.attribute.data[offset : offset + count] = data
        return packed("I", count)
    if fid.file is None:
        raise failure(errno.EBADF)
    return packed("I", os.pwrite(fid.file.fd, data, offset))


def readdir(session: Session, fields: Fields) -> bytes:
    fid, position, count = session.fid(fields), fields.u64(), fields.u32()
    listing = None if fid.file is None else fid.file.listing
    if listing is None:
        raise failure(errno.EBADF)
    left = min(count, session.room - IO_HEADER)
    entries = bytearray()
    if position <= 1:
        for at, place in ((0, fid.place), (1, fid.place.parent or fid.place)):
            if position <= at and left - len(entries) > ENTRY_HEADER + at:
                name = b"." * (at + 1)
                entries += session.folder.qid(place).pack()
                entries += packed("QB", at + 1, stat.S_IFDIR >> 12) + text(name)
    at = max(position, 2)
    for entry in listing.from_(at - 2):
        name = os.fsencode(entry.name)
        if len(entries) + ENTRY_HEADER + len(name) > left:
            break
        qid, kind = session.folder.entry(entry, listing.device)
        entries += qid.pack() + packed("QB", at + 1, kind) + text(name)
        at += 1
    return packed("I", len(entries)) + entries


def fsync(session: Session, fields: Fields) -> bytes:
    fid, only_data = session.fid(fields), fields.u32()
    if fid.file is None:
        raise failure(errno.EBADF)
    (os.fdatasync if only_data else os.fsync)(fid.file.fd)
    return b""


def lock(session: Session, fields: Fields) -> bytes:
    session.fid(fields)
    return packed("B", 0)


def getlock(session: Session, fields: Fields) -> bytes:
    session.fid(fields)
    _, start, length = fields.u8(), fields.u64(), fields.u64()
    pid, client = fields.u32(), fields.text()
    return packed("BQQI", UNLOCKED, start, length, pid) + text(client)


HANDLERS: Handlers = {
    Kind.LOPEN: lopen,
    Kind.LCREATE: lcreate,
    Kind.READ: read,
    Kind.WRITE: write,
    Kind.READDIR: readdir,
    Kind.FSYNC: fsync,
    Kind.LOCK: lock,
    Kind.GETLOCK: getlock,
}
