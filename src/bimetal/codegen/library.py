"""A library: native code in memory, and where its functions are.

Its image is machine code and constants, which refer to each other by distances. In front of it are
their size and tables: what can be found in it, words for addresses of the C library's functions,
and words that hold an address of the image, to which the address is added where it is loaded.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
from array import array
from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

__all__ = ["WORD", "Library", "pack_library"]

WORD = 8
"""Bytes of an address."""

_HEAD = Struct("<III")


def pack_library(
    code: bytes, symbols: Mapping[str, int], outside: Mapping[str, int], words: Sequence[int]
) -> bytes:
    """An image: ``symbols`` are at offsets of its ``code``, as are the words for what is
    ``outside``, and the ``words`` that hold offsets."""
    fields = json.dumps({"symbols": symbols, "outside": outside}).encode()
    head = _HEAD.pack(len(code), len(words), len(fields))
    return b"".join((head, array("I", words).tobytes(), fields, code))


class Library:
    """Loaded native code. It stays in memory as long as the object lives."""

    def __init__(self, image: bytes):
        """Load an image. Raises ValueError for what is none, and for a function that this process
        does not have."""
        size, count, length = _HEAD.unpack_from(image)
        view = memoryview(image)[_HEAD.size :]
        words, fields = view[: 4 * count].cast("I"), view[4 * count :][:length]
        code = view[4 * count + length :]
        if len(code) != size:
            raise ValueError("the image of a library is incomplete")
        told = json.loads(bytes(fields))
        self._symbols: dict[str, int] = told["symbols"]
        self._memory = mmap.mmap(-1, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE, mmap.MAP_PRIVATE)
        self._memory[:size] = code
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        with memoryview(self._memory).cast("Q") as cells:
            for word in words:
                cells[word // WORD] += self._base
            for name, word in told["outside"].items():
                cells[word // WORD] = _address_of(name)
        self._protect()

    def _protect(self) -> None:
        """From now on it is executed and not written."""
        process: Any = ctypes.CDLL(None, use_errno=True)
        place, size = ctypes.c_void_p(self._base), ctypes.c_size_t(len(self._memory))
        if process.mprotect(place, size, mmap.PROT_READ | mmap.PROT_EXEC):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def address(self, symbol: str) -> int:
        """The address of an exported symbol. Raises KeyError if there is none."""
        return self._base + self._symbols[symbol]


def _address_of(name: str) -> int:
    """The address of a function of the C library or its like."""
    try:
        found = getattr(ctypes.CDLL(None), name)
    except AttributeError:
        raise ValueError(f"this process has no {name}") from None
    return ctypes.cast(found, ctypes.c_void_p).value or 0
