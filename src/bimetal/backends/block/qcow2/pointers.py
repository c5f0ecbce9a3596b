"""The writes that make something new a part of the image: entries of tables, and what the header
says of them.

When such a write fails, the file may hold the old entry or the new one, and neither may be relied
on: were the new cluster given away again, two tables might name it. So the old entry is written
once more before anything else is named or freed.
"""

from __future__ import annotations

from array import array

from bimetal.backends.block.qcow2.words import read_words, words_to_bytes, write_all

__all__ = ["Pointers"]


class Pointers:
    """The pointers in the file ``fd``: words of 64 bits."""

    def __init__(self, fd: int):
        self._fd = fd
        self._undo: tuple[int, array[int]] | None = None

    def read(self, place: int, count: int) -> array[int]:
        """The ``count`` words at ``place``. Raises OSError."""
        words = read_words(self._fd, place, count)
        if self._undo is not None:
            undone, old = self._undo
            for at, word in enumerate(old, (undone - place) // 8):
                if 0 <= at < count:
                    words[at] = word
        return words

    def write(self, place: int, new: array[int], old: array[int]) -> None:
        """Store ``new`` where ``old`` stands. Raises OSError, and then counts as not done."""
        self.mend()
        try:
            write_all(self._fd, words_to_bytes(new), place)
        except OSError:
            self._undo = place, old
            raise

    def mend(self) -> None:
        """Undo a write that failed. Raises OSError if that is still not possible."""
        if self._undo is not None:
            place, old = self._undo
            write_all(self._fd, words_to_bytes(old), place)
            self._undo = None
