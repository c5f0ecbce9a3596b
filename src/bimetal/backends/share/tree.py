"""Places below a shared folder, which stay right when something above them is renamed."""

from __future__ import annotations

import errno
import os
from weakref import WeakValueDictionary

__all__ = ["Place"]

DEPTH = 1000
"""Folders inside each other; Linux cannot name what lies deeper than some two thousand."""


class Place:
    """A file or folder by its name in its parent, which is None for the shared folder itself.

    There is one for each path in use, so that a renamed folder takes along all that lies in it.
    What was deleted is ``gone``, and not what comes to that path later.
    """

    __slots__ = ("__weakref__", "children", "gone", "name", "parent")

    def __init__(self, parent: Place | None = None, name: bytes = b""):
        self.parent, self.name, self.gone = parent, name, False
        self.children: WeakValueDictionary[bytes, Place] = WeakValueDictionary()

    @property
    def names(self) -> list[bytes]:
        """The names on the way from the shared folder to here. OSError if it is gone."""
        names, place = [], self
        while place.parent is not None:
            if place.gone:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            names.append(place.name)
            place = place.parent
        return names[::-1]

    def child(self, name: bytes) -> Place:
        """The place called ``name`` in this folder, whether there is anything or not."""
        found = self.children.get(name)
        if found is None:
            found = self.children[name] = Place(self, name)
        return found

    @property
    def too_deep(self) -> bool:
        """Whether nothing may lie in here."""
        return len(self.names) >= DEPTH

    def move(self, parent: Place, name: bytes) -> None:
        """This was renamed; whatever was at the new place is no more."""
        if self.parent is not None:
            self.parent.children.pop(self.name, None)
        parent.remove(name)
        self.parent, self.name = parent, name
        parent.children[name] = self

    def remove(self, name: bytes) -> None:
        """What was called ``name`` in this folder is no more."""
        if (lost := self.children.pop(name, None)) is not None:
            lost.gone = True
