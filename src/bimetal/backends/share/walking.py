"""Requests by which a guest begins, and finds its way to files."""

from __future__ import annotations

import errno

from bimetal.backends.share.fids import Fid, failure
from bimetal.backends.share.names import checked
from bimetal.backends.share.session import MESSAGE_LIMIT, Handlers, Session
from bimetal.backends.share.tree import Place
from bimetal.backends.share.wire import Fields, Kind, Qid, packed, text

__all__ = ["HANDLERS"]

MESSAGE_MINIMUM = 4096
DIALECT = b"9P2000.L"
WALK_LIMIT = 16


def version(session: Session, fields: Fields) -> bytes:
    size, dialect = fields.u32(), fields.text()
    session.fids.clear()
    if size < MESSAGE_MINIMUM:
        raise failure(errno.EMSGSIZE)
    session.limit = min(size, MESSAGE_LIMIT)
    return packed("I", session.limit) + text(DIALECT if dialect == DIALECT else b"unknown")


def attach(session: Session, fields: Fields) -> bytes:
    number, _, _, _, uid = (
        fields.u32(), fields.u32(), fields.text(), fields.text(), fields.u32()
    )  # fmt: skip
    qid = session.folder.qid(session.folder.root)
    session.fids.add(number, Fid(session.folder.root, uid))
    return qid.pack()


def flush(session: Session, fields: Fields) -> bytes:
    fields.u16()
    return b""


def walk(session: Session, fields: Fields) -> bytes:
    old, number, count = session.fid(fields), fields.u32(), fields.u16()
    if count > WALK_LIMIT:
        raise failure(errno.EINVAL)
    names = [fields.text() for _ in range(count)]
    place, qids = old.place, list[Qid]()
    if session.fids.get_or_none(number) is not old:
        session.fids.check_new(number)
    elif old.file is not None:
        raise failure(errno.EBUSY)
    for name in names:
        try:
            onward = _step(place, name)
            qids.append(session.folder.qid(onward))
        except OSError:
            if not qids:
                raise
            break
        place = onward
    if len(qids) == count:
        if session.fids.get_or_none(number) is old:
            old.place = place
        else:
            session.fids.add(number, Fid(place, old.uid))
    return packed("H", len(qids)) + b"".join(qid.pack() for qid in qids)


def clunk(session: Session, fields: Fields) -> bytes:
    fid = session.fids.drop(fields.u32())
    attribute = fid.attribute
    if attribute is not None and attribute.flags is not None:
        name, data, flags = attribute.name, bytes(attribute.data), attribute.flags
        with session.folder.at(fid.place) as fd:
            session.folder.owners.set_attribute(fd, name, data, flags)
    return b""


def _step(place: Place, name: bytes) -> Place:
    if name == b"..":
        return place.parent or place
    if place.too_deep:
        raise failure(errno.ENAMETOOLONG)
    return place if name == b"." else place.child(checked(name))


HANDLERS: Handlers = {
    Kind.VERSION: version,
    Kind.ATTACH: attach,
    Kind.FLUSH: flush,
    Kind.WALK: walk,
    Kind.CLUNK: clunk,
}
