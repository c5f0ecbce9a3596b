"""What a guest holds by a number: places, and what is open there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from msgspec import Struct, field

from bimetal.backends.share.tree import Place

__all__ = ["Attribute", "Fid", "Fids", "Listing", "OpenFile", "failure"]

FIDS_LIMIT = 1 << 16
"""Fids at a time, some hundred bytes each."""


def failure(number: int) -> OSError:
    """The error of that number."""
    return OSError(number, os.strerror(number))


class Attribute(Struct):
    """An extended attribute, or the list of them, being read; or, with ``flags``, being written,
    to be set when the fid is given up."""

    name: bytes
    data: bytearray
    flags: int | None = None


class Listing:
    """The entries of the open folder ``fd`` by their position, without keeping all of them.

    The guest says how many entries it has had: as a rule all that were read, and then reading goes
    on; otherwise it begins anew.
    """

    def __init__(self, fd: int):
        self.fd, self.device = fd, os.fstat(fd).st_dev
        self._entries = os.scandir(fd)
        self._at = 0
        self._kept: os.DirEntry[str] | None = None

    def from_(self, position: int) -> Iterator[os.DirEntry[str]]:
        """The entries from ``position`` on."""
        if position < self._at:
            self._entries.close()
            self._entries, self._at, self._kept = os.scandir(self.fd), 0, None
        while True:
            entry = self._kept or next(self._entries, None)
            if entry is None:
                return
            self._kept = entry
            if self._at >= position:
                yield entry
            self._at, self._kept = self._at + 1, None

    def close(self) -> None:
        """Give back what it reads by."""
        self._entries.close()


class OpenFile(Struct):
    """An open file or folder: its descriptor, how it was opened, and the folder's entries."""

    fd: int
    flags: int
    listing: Listing | None = None

    def close(self) -> None:
        """Give the descriptors back."""
        if self.listing is not None:
            self.listing.close()
        os.close(self.fd)


class Fid(Struct):
    """A place, the user on whose behalf the guest goes there, and what is open."""

    place: Place
    uid: int
    file: OpenFile | None = None
    attribute: Attribute | None = field(default=None)


class Fids:
    """The fids of a guest. ``open_limit`` bounds the files that it has open."""

    def __init__(self, open_limit: int):
        self._all: dict[int, Fid] = {}
        self._open_limit, self.opened = open_limit, 0

    def __len__(self) -> int:
        return len(self._all)

    def get(self, number: int) -> Fid:
        """The fid of that number. OSError if there is none."""
        found = self._all.get(number)
        if found is None:
            raise failure(errno.EBADF)
        return found

    def get_or_none(self, number: int) -> Fid | None:
        """The fid of that number, if there is one."""
        return self._all.get(number)

    def check_new(self, number: int) -> None:
        """Raise OSError if no fid can be made of that number."""
        if number in self._all:
            raise failure(errno.EBADF)
        if len(self._all) >= FIDS_LIMIT:
            raise failure(errno.EMFILE)

    def add(self, number: int, fid: Fid) -> None:
        """Let ``number`` mean ``fid``."""
        self.check_new(number)
        self._all[number] = fid

    def check_open(self, fid: Fid) -> None:
        """Raise OSError if ``fid`` cannot be opened, because it is or too many are."""
        if fid.file is not None or fid.attribute is not None:
            raise failure(errno.EBADF)
        if self.opened >= self._open_limit:
            raise failure(errno.EMFILE)

    def opens(self, fid: Fid, file: OpenFile) -> None:
        """``file`` is open for ``fid``."""
        fid.file = file
        self.opened += 1

    def drop(self, number: int) -> Fid:
        """Take the fid away and close what is open; the fid. OSError if there is none."""
        fid = self.get(number)
        del self._all[number]
        if fid.file is not None:
            self.opened -= 1
            with suppress(OSError):  # what the host could not write it has told by fsync, or can
                fid.file.close()  #     not tell who has given the file up
            fid.file = None
        return fid

    def clear(self) -> None:
        """Take all away."""
        for number in list(self._all):
            self.drop(number)

    def save(self) -> dict[int, dict[str, Any]]:
        """The fids as plain values; those of deleted files are left out."""
        saved = {}
        for number, fid in self._all.items():
            with suppress(OSError):
                saved[number] = {
                    "names": fid.place.names,
                    "uid": fid.uid,
                    "flags": fid.file.flags if fid.file else None,
                    "attribute": _saved(fid.attribute),
                }
        return saved


def _saved(attribute: Attribute | None) -> Mapping[str, Any] | None:
    if attribute is None:
        return None
    return {"name": attribute.name, "data": bytes(attribute.data), "flags": attribute.flags}
