"""What is in a file, read only as far as it is looked at, and then straight into guest memory.

Kernels have tens of megabytes. To read one first and to copy it then would take as much of the
host's memory again, which costs more than the reading.
"""

from __future__ import annotations

import os
import stat
import weakref
from contextlib import suppress
from typing import Self

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["LARGEST", "FileContents"]

LARGEST = 2 << 30
"""Bytes of a file that is to be loaded."""


class FileContents:
    """A file's contents, of which pieces are read like slices of `bytes`. The file is open as long
    as the object is used. ``name`` is what the user called it."""

    def __init__(self, file: int, size: int, name: str):
        self._file, self._size, self.name = file, size, name
        weakref.finalize(self, os.close, file)

    @classmethod
    def of(cls, path: str, name: str) -> Self | None:
        """The contents of a file; None for what cannot be opened, is a device or a pipe, or has no
        size that is sensible: who reads these says what is wrong with them."""
        with suppress(OSError):
            # Not even opened: who writes to a pipe would take this for its reader, which is gone.
            if not stat.S_ISREG(os.stat(path).st_mode):
                return None
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            status = os.fstat(file)
            contents = cls(file, status.st_size, name)
            if stat.S_ISREG(status.st_mode) and 0 < len(contents) <= LARGEST:
                return contents
        return None

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        """Raises `BimetalError` as `read_into`."""
        start, stop, _ = part.indices(self._size)
        piece = bytearray(max(0, stop - start))
        with memoryview(piece) as memory:
            self._fill(memory, start)
        return bytes(piece)

    def __bytes__(self) -> bytes:
        return self[:]

    def read_into(self, memory: memoryview) -> None:
        """Read it from its beginning on, as much as there is room for.

        Raises `BimetalError` if it has become shorter, or cannot be read.
        """
        self._fill(memory, 0)

    def _fill(self, memory: memoryview, start: int) -> None:
        done = 0
        while done < len(memory):
            with memory[done:] as rest:
                count = self._read(rest, start + done)
            if not count:
                raise BimetalError(
                    f"{self.name} became shorter while it was loaded", "try again", ExitCode.DATA
                )
            done += count

    def _read(self, memory: memoryview, at: int) -> int:
        try:
            return os.preadv(self._file, [memory], at)
        except OSError as error:
            raise BimetalError(
                f"{self.name} cannot be read: {error.strerror}",
                "see what the host's log says of its disk",
                ExitCode.NO_INPUT,
            ) from error
