"""What requests of a guest have in common: its folder, its fids, and how large messages are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from bimetal.backends.share.fids import Attribute, Fid, Fids
from bimetal.backends.share.folder import Folder
from bimetal.backends.share.wire import Fields, Qid

__all__ = ["MESSAGE_LIMIT", "Handlers", "Session"]

MESSAGE_LIMIT = 512 << 10
"""Bytes in a message at most; drivers of Linux have room for no more."""


class Session:
    """A guest's use of ``folder``. ``limit`` is the size of messages, ``room`` that of the present
    answer."""

    def __init__(self, folder: Folder):
        self.folder = folder
        self.fids = Fids(folder.open_limit)
        self.limit = MESSAGE_LIMIT
        self.room = 0

    def fid(self, fields: Fields) -> Fid:
        """The fid that the next field names. Raises OSError."""
        return self.fids.get(fields.u32())

    def qid(self, fid: Fid) -> Qid:
        """The qid of what ``fid`` means. Raises OSError."""
        with self.folder.of(fid) as fd:
            return self.folder.qid_of(self.folder.owners.look(fd))

    def reset(self) -> None:
        """Forget all fids: the guest begins anew."""
        self.fids.clear()
        self.limit = MESSAGE_LIMIT

    def save(self) -> dict[str, Any]:
        """The state as plain values, for a snapshot: what is open is known by its path."""
        return {"limit": self.limit, "fids": self.fids.save()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `save` returned. What is there no more, or cannot be opened, is not open."""
        self.reset()
        self.limit = state["limit"]
        for number, saved in state["fids"].items():
            place = self.folder.root
            for name in saved["names"]:
                place = place.child(name)
            fid = Fid(place, saved["uid"])
            if (kept := saved["attribute"]) is not None:
                fid.attribute = Attribute(kept["name"], bytearray(kept["data"]), kept["flags"])
            self.fids.add(number, fid)
            if saved["flags"] is not None:
                with suppress(OSError):
                    self.fids.opens(fid, self.folder.open(place, saved["flags"]))


Handlers = Mapping[int, Callable[[Session, Fields], bytes]]
"""What answers the requests of each kind; it may raise OSError, ValueError and `Malformed`."""
