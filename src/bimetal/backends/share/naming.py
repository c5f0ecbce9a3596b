"""Requests that make, rename and remove what has a name."""

from __future__ import annotations

import errno
import os
import stat

from bimetal.backends.share.fids import failure
from bimetal.backends.share.names import new_name
from bimetal.backends.share.session import Handlers, Session
from bimetal.backends.share.wire import Fields, Kind, text

__all__ = ["HANDLERS"]

TARGET_LIMIT = 4095
REMOVE_FOLDER = 0x200


def symlink(session: Session, fields: Fields) -> bytes:
    fid, name, target, gid = session.fid(fields), new_name(fields), fields.text(), fields.u32()
    if not 0 < len(target) <= TARGET_LIMIT:
        raise failure(errno.ENAMETOOLONG if target else errno.ENOENT)
    return session.folder.symlink(fid.place, name, target, fid.uid, gid).pack()


def readlink(session: Session, fields: Fields) -> bytes:
    with session.folder.of(session.fid(fields)) as fd:
        return text(session.folder.owners.readlink(fd))


def mknod(session: Session, fields: Fields) -> bytes:
    fid, name, mode = session.fid(fields), new_name(fields), fields.u32()
    major, minor, gid = fields.u32(), fields.u32(), fields.u32()
    device = os.makedev(major, minor)
    return session.folder.mknod(fid.place, name, mode, device, fid.uid, gid).pack()


def mkdir(session: Session, fields: Fields) -> bytes:
    fid, name, mode, gid = session.fid(fields), new_name(fields), fields.u32(), fields.u32()
    if fid.place.too_deep:
        raise failure(errno.ENAMETOOLONG)
    return session.folder.mkdir(fid.place, name, mode, fid.uid, gid).pack()


def link(session: Session, fields: Fields) -> bytes:
    parent, old, name = session.fid(fields), session.fid(fields), new_name(fields)
    session.folder.link(old.place, parent.place, name)
    return b""


def rename(session: Session, fields: Fields) -> bytes:
    fid, parent, name = session.fid(fields), session.fid(fields), new_name(fields)
    session.folder.rename(fid.place, parent.place, name)
    return b""


def renameat(session: Session, fields: Fields) -> bytes:
    parent, name = session.fid(fields), new_name(fields)
    onto, as_name = session.fid(fields), new_name(fields)
    session.folder.rename(parent.place.child(name), onto.place, as_name)
    return b""


def unlinkat(session: Session, fields: Fields) -> bytes:
    fid, name, flags = session.fid(fields), new_name(fields), fields.u32()
    session.folder.remove(fid.place, name, is_folder=bool(flags & REMOVE_FOLDER))
    return b""


def remove(session: Session, fields: Fields) -> bytes:
    number = fields.u32()
    fid = session.fids.get(number)
    try:
        if fid.place.parent is None:
            raise failure(errno.EBUSY)
        with session.folder.at(fid.place) as fd:
            is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        session.folder.remove(fid.place.parent, fid.place.name, is_folder=is_folder)
    finally:
        session.fids.drop(number)  # whether it could be removed or not
    return b""


HANDLERS: Handlers = {
    Kind.SYMLINK: symlink,
    Kind.READLINK: readlink,
    Kind.MKNOD: mknod,
    Kind.MKDIR: mkdir,
    Kind.LINK: link,
    Kind.RENAME: rename,
    Kind.RENAMEAT: renameat,
    Kind.UNLINKAT: unlinkat,
    Kind.REMOVE: remove,
}
