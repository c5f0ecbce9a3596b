"""Tables of big-endian words in the file, as arrays in memory."""

from __future__ import annotations

import errno
import os
import sys
from array import array

from bimetal.backends.block.vector import write_vector

__all__ = ["DamagedImage", "bad_image", "is_hole", "read_words", "words_to_bytes", "write_all"]


class DamagedImage(OSError):
    """The image contradicts itself: for the guest an I/O error."""


def bad_image(why: str) -> DamagedImage:
    """The error for an image that contradicts itself."""
    return DamagedImage(errno.EIO, f"the image is damaged: {why}")


def read_words(fd: int, offset: int, count: int) -> array[int]:
    """``count`` words of 64 bits. Raises OSError, also if the file ends."""
    data = os.pread(fd, count * 8, offset)
    if len(data) < count * 8:
        raise bad_image(f"a table at {offset:#x} lies beyond the end of the file")
    words = array("Q", data)
    if sys.byteorder == "little":
        words.byteswap()
    return words


def words_to_bytes(words: array[int]) -> bytes:
    """``words`` as the bytes in the file."""
    if sys.byteorder == "little":
        words = words[:]
        words.byteswap()
    return words.tobytes()


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Store ``data``, all of it: a full disk may take a part without an error."""
    write_vector(fd, offset, [memoryview(data)])


def is_hole(fd: int, offset: int, length: int) -> bool:
    """Whether the file has no space at all there, so that it need not be read to know that it is
    zero: a hostile image has more of that than anyone can read."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA) >= offset + length
    except OSError as error:
        # No data up to the end; devices, and file systems without holes, have data everywhere.
        return error.errno == errno.ENXIO
