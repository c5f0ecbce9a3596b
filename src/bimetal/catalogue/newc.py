"""A writer of cpio archives in the "newc" format, which Linux unpacks as its first file system.

Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst. Every field of the
header is eight hexadecimal digits; name and data are padded to multiples of four bytes.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

__all__ = ["Archive"]

MAGIC = "070701"
TRAILER = "TRAILER!!!"
BLOCK = 512


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the archive. ``device`` is the major and minor number of a device node."""

    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


class Archive:
    """A file system in memory, written as one archive.

    The same content makes the same bytes: owner and times are 0, entries are sorted by name, so
    that a folder comes before what is in it.
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Add a folder, and those above it."""
        self._add(path, Entry(stat.S_IFDIR | mode))

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add a regular file."""
        self._add(path, Entry(stat.S_IFREG | mode, data))

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(path, Entry(stat.S_IFLNK | 0o777, target.encode()))

    def character_device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Add the node of a character device."""
        self._add(path, Entry(stat.S_IFCHR | mode, device=(major, minor)))

    def to_bytes(self) -> bytes:
        """The archive, padded to whole blocks of 512 bytes."""
        parts = [
            part
            for number, (name, entry) in enumerate(sorted(self._entries.items()), start=1)
            for part in _record(number, name, entry)
        ]
        parts += _record(0, TRAILER, Entry(0))
        data = b"".join(parts)
        return data + bytes(-len(data) % BLOCK)

    def _add(self, path: str, entry: Entry) -> None:
        place = PurePosixPath(path)
        if place.is_absolute() or ".." in place.parts or not place.parts:
            raise ValueError(f"{path!r} is no path inside an archive")
        for above in list(place.parents)[:-1]:
            self._entries.setdefault(str(above), Entry(stat.S_IFDIR | 0o755))
        self._entries[str(place)] = entry


def _record(number: int, name: str, entry: Entry) -> Iterator[bytes]:
    """Header, name and data of one entry; ``number`` becomes its inode."""
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    # ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    fields = [number, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0]
    fields += [*entry.device, len(encoded), 0]
    yield _padded(MAGIC.encode() + b"".join(b"%08X" % field for field in fields) + encoded)
    yield _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
