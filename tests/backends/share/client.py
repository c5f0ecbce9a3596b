"""A guest's side of 9P2000.L, as far as tests need it."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from bimetal.backends.share.server import Server
from bimetal.backends.share.wire import HEADER, Kind

NO_FID = 0xFFFF_FFFF


class Refused(Exception):
    """The server answered with an error of the number ``errno``."""

    def __init__(self, number: int):
        super().__init__(os.strerror(number))
        self.errno = number


@dataclass(frozen=True)
class Attributes:
    """What the server tells of a file."""

    mode: int
    uid: int
    gid: int
    nlink: int
    rdev: int
    size: int


class Client:
    """Speaks to ``server`` as root, or as ``uid``; its fid 0 is the shared folder."""

    def __init__(self, server: Server, uid: int = 0, size: int = 64 << 10):
        self.server, self.room = server, size
        self._next = 0
        body = struct.pack("<I", size) + text(b"9P2000.L")
        self.size, length = struct.unpack_from("<IH", self.ask(Kind.VERSION, body))
        assert length == len("9P2000.L")
        self.ask(Kind.ATTACH, struct.pack("<II", 0, NO_FID) + text(b"") * 2 + u32(uid))

    def ask(self, kind: int, body: bytes) -> bytes:
        """One request; the body of its answer. Raises `Refused`."""
        request = HEADER.pack(HEADER.size + len(body), kind, 77) + body
        answer = self.server.answer(request, self.room)
        size, kind_of_answer, tag = HEADER.unpack_from(answer)
        assert (size, tag) == (len(answer), 77)
        if kind_of_answer == Kind.ERROR + 1:
            raise Refused(struct.unpack("<I", answer[HEADER.size :])[0])
        assert kind_of_answer == kind + 1
        return answer[HEADER.size :]

    def walk(self, *names: bytes, start: int = 0) -> int:
        """A new fid of what is at that path. Raises `Refused`."""
        self._next += 1
        body = struct.pack("<IIH", start, self._next, len(names)) + b"".join(map(text, names))
        (found,) = struct.unpack_from("<H", self.ask(Kind.WALK, body))
        if found < len(names):
            raise Refused(2)
        return self._next

    def clunk(self, fid: int) -> None:
        self.ask(Kind.CLUNK, u32(fid))

    def open(self, fid: int, flags: int = os.O_RDONLY) -> int:
        self.ask(Kind.LOPEN, struct.pack("<II", fid, flags))
        return fid

    def create(self, name: bytes, mode: int = 0o644, flags: int = os.O_RDWR, gid: int = 0) -> int:
        """A new file in the shared folder, open; its fid."""
        fid = self.walk()
        self.ask(Kind.LCREATE, u32(fid) + text(name) + struct.pack("<III", flags, mode, gid))
        return fid

    def read(self, fid: int, offset: int = 0, count: int = 4096) -> bytes:
        return self.ask(Kind.READ, struct.pack("<IQI", fid, offset, count))[4:]

    def write(self, fid: int, data: bytes, offset: int = 0) -> int:
        answer = self.ask(Kind.WRITE, struct.pack("<IQI", fid, offset, len(data)) + data)
        (written,) = struct.unpack("<I", answer)
        return int(written)

    def list(self, fid: int, count: int = 4096) -> list[tuple[bytes, int]]:
        """Names and kinds of all entries of an open folder, asked for ``count`` bytes at a time."""
        found: list[tuple[bytes, int]] = []
        position = 0
        while data := self.ask(Kind.READDIR, struct.pack("<IQI", fid, position, count))[4:]:
            at = 0
            while at < len(data):
                position, kind, length = struct.unpack_from("<QBH", data, at + 13)
                found.append((data[at + 24 : at + 24 + length], kind))
                at += 24 + length
        return found

    def attributes(self, fid: int) -> Attributes:
        answer = self.ask(Kind.GETATTR, struct.pack("<IQ", fid, 0x7FF))
        mode, uid, gid, nlink, rdev, size = struct.unpack_from("<IIIQQQ", answer, 8 + 13)
        return Attributes(mode, uid, gid, nlink, rdev, size)

    def set(self, fid: int, valid: int, *, mode: int = 0, uid: int = 0, gid: int = 0,
            size: int = 0, atime: int = 0, mtime: int = 0) -> None:  # fmt: skip
        times = [part for time in (atime, mtime) for part in divmod(time, 10**9)]
        self.ask(Kind.SETATTR, struct.pack("<IIIIIQ4Q", fid, valid, mode, uid, gid, size, *times))

    def mkdir(self, name: bytes, mode: int = 0o755, parent: int = 0) -> None:
        self.ask(Kind.MKDIR, u32(parent) + text(name) + struct.pack("<II", mode, 0))

    def symlink(self, name: bytes, target: bytes) -> None:
        self.ask(Kind.SYMLINK, u32(0) + text(name) + text(target) + u32(0))

    def readlink(self, fid: int) -> bytes:
        return self.ask(Kind.READLINK, u32(fid))[2:]

    def mknod(self, name: bytes, mode: int, major: int = 0, minor: int = 0) -> None:
        self.ask(Kind.MKNOD, u32(0) + text(name) + struct.pack("<IIII", mode, major, minor, 0))

    def rename(self, old: bytes, new: bytes, old_parent: int = 0, new_parent: int = 0) -> None:
        self.ask(Kind.RENAMEAT, u32(old_parent) + text(old) + u32(new_parent) + text(new))

    def unlink(self, name: bytes, parent: int = 0, flags: int = 0) -> None:
        self.ask(Kind.UNLINKAT, u32(parent) + text(name) + u32(flags))


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def text(data: bytes) -> bytes:
    return struct.pack("<H", len(data)) + data
