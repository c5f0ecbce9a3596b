"""Which pages of memory lie where in a file: runs of pages that follow one another in both."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from operator import add, le
from struct import Struct, error
from typing import NamedTuple

__all__ = ["Pages", "Run", "pack_runs", "unpack_runs"]

_RUN = Struct("<QQQ")


class Run(NamedTuple):
    """``length`` pages of memory from ``page`` on are those of the file from ``stored`` on."""

    page: int
    length: int
    stored: int


class Pages:
    """The runs of an area that grows at its end."""

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._first = self._from = self._page = self._stored = -2

    def add(self, page: int, stored: int) -> None:
        """The next page that holds something, and where it is stored."""
        if page != self._page + 1 or stored != self._stored + 1:
            self._end()
            self._first, self._from = page, stored
        self._page, self._stored = page, stored

    @property
    def runs(self) -> list[Run]:
        """All runs, in order."""
        self._end()
        self._first = -2
        return self._runs

    def _end(self) -> None:
        if self._first >= 0:
            self._runs.append(Run(self._first, self._page + 1 - self._first, self._from))


def pack_runs(runs: Iterable[Run]) -> str:
    """The runs as text."""
    return base64.b64encode(b"".join(_RUN.pack(*run) for run in runs)).decode("ascii")


def unpack_runs(text: object, pages: int, stored: int) -> list[Run]:
    """The inverse of `pack_runs`, for an area of so many pages, of a file that stores so many.

    Raises ValueError for runs that leave either, or do not follow one another.
    """
    if not isinstance(text, str):
        raise ValueError("no list of pages")
    try:
        runs = list(map(Run._make, _RUN.iter_unpack(base64.b64decode(text, validate=True))))
    except error as failure:
        raise ValueError(f"no list of pages: {failure}") from failure
    pages_of, lengths, places = ([run[field] for run in runs] for field in range(3))
    ends = list(map(add, pages_of, lengths))
    if (
        0 in lengths
        or not all(map(le, ends, pages_of[1:]))
        or max(map(add, places, lengths), default=0) > stored
    ):
        raise ValueError("pages that lie nowhere, or do not follow one another")
    if ends and ends[-1] > pages:
        raise ValueError(f"page {ends[-1] - 1} of an area of {pages} pages")
    return runs
