"""Snapshots inside an image: other L1 tables, which share clusters with the active one."""

from __future__ import annotations

import os
from struct import Struct

import msgspec

from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.header import L1_LIMIT, Header
from bimetal.backends.block.qcow2.words import bad_image

__all__ = ["SNAPSHOT_LIMIT", "Snapshot", "read_snapshots", "snapshot_bytes"]

SNAPSHOT_LIMIT = 65536
EXTRA_LIMIT = 1024

_ENTRY = Struct(">QIHHIIQII")
"""L1 offset and entries, lengths of identity and name, time in two words, the guest's time, size
of the state of its processors, length of more such data."""

_EXTRA = Struct(">QQQ")
"""That size in 64 bits, size of the disk, number of instructions; each may be missing."""

NO_COUNT = (1 << 64) - 1
"""Where a machine does not count its instructions."""


class Snapshot(msgspec.Struct):
    """A snapshot of the disk, which had ``size`` bytes, and of a machine, if ``state_size`` is not
    0: that many bytes of its state lie behind the disk. ``clock`` is the machine's time in
    nanoseconds; ``seconds`` and ``nanoseconds`` since 1970 when it was made."""

    identity: str
    name: str
    seconds: int
    nanoseconds: int
    size: int
    clock: int = 0
    state_size: int = 0
    instructions: int = NO_COUNT
    l1_offset: int = 0
    l1_entries: int = 0
    extra: bytes = b""

    @property
    def is_counted(self) -> bool:
        """Whether the machine counted its instructions."""
        return self.instructions != NO_COUNT


def read_snapshots(file: ImageFile, header: Header) -> tuple[list[Snapshot], int]:
    """The snapshots of the image, and how many bytes their table has. Raises OSError."""
    if header.snapshots > SNAPSHOT_LIMIT:
        raise bad_image(f"it has {header.snapshots} snapshots")
    at, snapshots = header.snapshots_offset, []
    if at >= 1 << 63:
        raise bad_image(f"its snapshots lie at {at:#x}")
    for number in range(header.snapshots):
        data = os.pread(file.fd, _ENTRY.size, at)
        if len(data) < _ENTRY.size:
            raise bad_image(f"snapshot {number} lies beyond the end of the file")
        offset, entries, identity, name, seconds, nano, clock, state, more = _ENTRY.unpack(data)
        if entries * 8 > L1_LIMIT:
            raise bad_image(f"the L1 table of snapshot {number} has {entries} entries")
        if more > EXTRA_LIMIT:
            raise bad_image(f"snapshot {number} has {more} bytes of what nobody knows")
        rest = os.pread(file.fd, more + identity + name, at + _ENTRY.size)
        extra, names = rest[:more], rest[more:]
        known = _EXTRA.unpack(extra[: _EXTRA.size].ljust(_EXTRA.size, b"\0"))
        snapshots.append(
            Snapshot(
                os.fsdecode(names[:identity]),
                os.fsdecode(names[identity:]),
                seconds,
                nano,
                known[1] if more >= 16 else header.size,
                clock,
                known[0] if more >= 8 else state,
                known[2] if more >= 24 else NO_COUNT,
                offset,
                entries,
                extra[_EXTRA.size :],
            )
        )
        at += _ENTRY.size + more + identity + name
        at += -at % 8
    return snapshots, at - header.snapshots_offset


def snapshot_bytes(snapshots: list[Snapshot]) -> bytes:
    """The table of ``snapshots`` as it stands in the file."""
    table = b""
    for snapshot in snapshots:
        identity, name = os.fsencode(snapshot.identity), os.fsencode(snapshot.name)
        extra = _EXTRA.pack(snapshot.state_size, snapshot.size, snapshot.instructions)
        extra += snapshot.extra
        state = snapshot.state_size if snapshot.state_size < 1 << 32 else 0
        table += _ENTRY.pack(
            snapshot.l1_offset, snapshot.l1_entries, len(identity), len(name), snapshot.seconds,
            snapshot.nanoseconds, snapshot.clock, state, len(extra),
        )  # fmt: skip
        table += extra + identity + name
        table += bytes(-len(table) % 8)
    return table
