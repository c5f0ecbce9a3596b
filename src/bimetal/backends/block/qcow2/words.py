"""Tables of big-endian 64-bit words in the file, as arrays in memory."""

from __future__ import annotations

import errno
import os
import sys
from array import array

from bimetal.backends.block.vector import write_vector

__all__ = ["bad_image", "read_words", "words_to_bytes", "write_all"]


def read_words(fd: int, offset: int, count: int, code: str = "Q") -> array[int]:
    """``count`` words of the type ``code`` of `array`. Raises OSError, also if the file ends."""
    words = array(code)
    data = os.pread(fd, count * words.itemsize, offset)
    if len(data) < count * words.itemsize:
        raise bad_image(f"a table at {offset:#x} lies beyond the end of the file")
    words.frombytes(data)
    if sys.byteorder == "little":
        words.byteswap()
    return words


def words_to_bytes(words: array[int]) -> bytes:
    """``words`` as they stand in the file."""
    if sys.byteorder == "little":
        words = words[:]
        words.byteswap()
    return words.tobytes()


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Store ``data``, all of it: a full disk may take a part without an error."""
    write_vector(fd, offset, [memoryview(data)])


def bad_image(why: str) -> OSError:
    """The error for an image that contradicts itself: an I/O error of the disk."""
    return OSError(errno.EIO, f"the image is damaged: {why}")
