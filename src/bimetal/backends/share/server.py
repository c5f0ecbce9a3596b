"""A 9P2000.L server for one guest: requests in, answers out.

Each request becomes calls of a `Folder`; what the host refuses becomes an error of the guest's.
Source: see `wire`. Every length and every number of the guest's is checked; what it names lies
below the folder because `Folder` can reach nothing else. Requests are answered in order and each at
once, so there is never anything to flush. Locks are always granted: the guest's own kernel keeps
those of its processes, and other users of the folder are not held off, as with QEMU's server.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from bimetal.backends.share import contents, naming, properties, walking
from bimetal.backends.share.fids import failure
from bimetal.backends.share.folder import Folder
from bimetal.backends.share.session import Handlers, Session
from bimetal.backends.share.wire import HEADER, Fields, Kind, Malformed, packed

__all__ = ["Server"]


def _refuse(session: Session, fields: Fields) -> bytes:
    """There is no authentication: the guest is who shares the folder."""
    raise failure(errno.EOPNOTSUPP)


HANDLERS: Handlers = {
    **walking.HANDLERS,
    **contents.HANDLERS,
    **properties.HANDLERS,
    **naming.HANDLERS,
    Kind.AUTH: _refuse,
}


class Server:
    """Answers the requests of one guest for ``folder``, which is closed with it."""

    def __init__(self, folder: Folder):
        self._folder = folder
        self._session = Session(folder)

    @property
    def readonly(self) -> bool:
        """Whether the guest can change nothing."""
        return self._folder.readonly

    @property
    def limit(self) -> int:
        """Bytes of a message at most, as the guest has agreed."""
        return self._session.limit

    def answer(self, request: bytes | memoryview, room: int) -> bytes:
        """The answer to a message, at most ``room`` bytes, of which there are 11 at least."""
        session = self._session
        kind, tag, reply = Kind.ERROR, 0xFFFF, b""
        session.room = min(room, session.limit)
        try:
            if len(request) < HEADER.size:
                raise Malformed("a message without a header")
            size, number, tag = HEADER.unpack_from(request)
            if not HEADER.size <= size <= len(request) or number not in HANDLERS:
                raise Malformed("a message of a wrong size or an unknown kind")
            kind = Kind(number)
            reply = HANDLERS[number](session, Fields(request[HEADER.size : size]))
            if HEADER.size + len(reply) > session.room:
                raise failure(errno.EMSGSIZE)
        except OSError as error:
            kind, reply = Kind.ERROR, packed("I", error.errno or errno.EIO)
        except (Malformed, ValueError, OverflowError):
            kind, reply = Kind.ERROR, packed("I", errno.EINVAL)
        return HEADER.pack(HEADER.size + len(reply), kind + 1, tag) + reply

    def reset(self) -> None:
        """Forget all fids: the guest begins anew."""
        self._session.reset()

    def close(self) -> None:
        """Give everything back. Idempotent."""
        self._session.reset()
        self._folder.close()

    def save(self) -> dict[str, Any]:
        """The state as plain values, for a snapshot: what is open is known by its path."""
        return self._session.save()

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `save` returned."""
        self._session.load(state)
