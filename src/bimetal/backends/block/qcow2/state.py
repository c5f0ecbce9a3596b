"""The state of a machine, which a snapshot has beside the disk: it lies behind the end of that, in
tables which no disk names."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from msgspec.structs import replace

from bimetal.backends.block.qcow2.changes import snapshot_tables
from bimetal.backends.block.qcow2.entries import ALL_ALLOCATED, WORD
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.qcow2.reader import Reader
from bimetal.backends.block.qcow2.snapshots import Snapshot
from bimetal.backends.block.qcow2.tables import Tables
from bimetal.backends.block.qcow2.words import words_to_bytes, write_all
from bimetal.base.errors import BimetalError

__all__ = ["read_state", "stored_state"]


@contextmanager
def stored_state(image: Qcow2Image, pieces: Iterable[bytes]) -> Iterator[tuple[list[int], int]]:
    """Store the ``pieces`` of a state, safely: the offsets of the L2 tables that name it, for
    `create_snapshot` in this context, and its bytes. If what is done there fails, as when there is
    no room, they are free again. If it is broken off, as by a signal, a snapshot may name them:
    they stay, and if none does, the next opening frees them.

    Raises OSError.
    """
    clusters = list[int]()
    try:
        yield _stored(image, pieces, clusters)
    except (OSError, BimetalError):
        with suppress(OSError):  # of an image about which nobody knows whether it names them
            image.writer().references.free_later(clusters)
            image.flush()
        raise


def _stored(
    image: Qcow2Image, pieces: Iterable[bytes], clusters: list[int]
) -> tuple[list[int], int]:
    """Store ``pieces`` in ``clusters``, which grow by those that are taken."""
    cluster, words = image.header.cluster, array("Q")
    length, rest = 0, bytearray()
    for piece in pieces:
        length += len(piece)
        rest += piece
        whole = len(rest) // cluster * cluster
        if whole >= 16 * cluster:
            words.extend(_store(image, bytes(rest[:whole]), clusters))
            del rest[:whole]
    if rest:
        whole = -(-len(rest) // cluster) * cluster
        words.extend(_store(image, bytes(rest.ljust(whole, b"\0")), clusters))
    tables = []
    for start in range(0, len(words), cluster // 8):
        table = words_to_bytes(words[start : start + cluster // 8]).ljust(cluster, b"\0")
        tables += _place(image, table, clusters)
    image.file.flush()
    return tables, length


def read_state(image: Qcow2Image, snapshot: Snapshot, offset: int, length: int) -> bytes:
    """``length`` bytes of the state that a snapshot has, from ``offset`` on. Raises OSError."""
    behind = replace(image.header, size=snapshot.size).l1_needed
    header = replace(image.header, size=snapshot.state_size)
    tables = Tables(image.file, header, image.pointers, snapshot_tables(image, snapshot)[behind:])
    reader = Reader(image.file, header, tables, image.places, None)
    data = bytearray(max(min(length, snapshot.state_size - offset), 0))
    reader.readv(offset, [memoryview(data)])
    return bytes(data)


def _store(image: Qcow2Image, data: bytes, clusters: list[int]) -> array[int]:
    """Write whole clusters; the words of their entries."""
    words = array("Q")
    for offset in _place(image, data, clusters):
        words.append(offset)
        if image.header.entry_words == 2:
            words.append(ALL_ALLOCATED >> 64 & WORD)
    return words


def _place(image: Qcow2Image, data: bytes, clusters: list[int]) -> list[int]:
    """Write whole clusters where there is room; their offsets."""
    cluster, offsets, done = image.header.cluster, list[int](), 0
    while done < len(data):
        wanted = (len(data) - done) // cluster
        run, _ = image.writer().references.allocate(wanted)
        clusters += run
        stop = done + len(run) * cluster
        write_all(image.file.fd, data[done:stop], run.start * cluster)
        offsets += [number * cluster for number in run]
        done = stop
    return offsets
