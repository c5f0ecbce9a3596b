"""The disk in a qcow2 image."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from bimetal.backends.block.block import Block, Extent, Span
from bimetal.backends.block.commands import repair_command
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.holes import runs
from bimetal.backends.block.qcow2.compressed import check_compression
from bimetal.backends.block.qcow2.counts import Counts
from bimetal.backends.block.qcow2.entries import ALL_ZERO, ZERO
from bimetal.backends.block.qcow2.header import Header, reference_table_clusters
from bimetal.backends.block.qcow2.header_place import store_header
from bimetal.backends.block.qcow2.keeping import KeptBitmaps
from bimetal.backends.block.qcow2.places import Inside, Outside
from bimetal.backends.block.qcow2.pointers import Pointers
from bimetal.backends.block.qcow2.reader import Reader
from bimetal.backends.block.qcow2.recovery import make_writable, mark_damaged
from bimetal.backends.block.qcow2.references import References
from bimetal.backends.block.qcow2.restructure import Structure, give_back, write_structure
from bimetal.backends.block.qcow2.snapshots import Snapshot, read_snapshots
from bimetal.backends.block.qcow2.tables import Tables
from bimetal.backends.block.qcow2.words import DamagedImage
from bimetal.backends.block.qcow2.writer import Writer
from bimetal.backends.block.remembered import forget_raw
from bimetal.backends.block.vector import ZEROES
from bimetal.base.buffers import total
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["Qcow2Image"]


class Qcow2Image(Block):
    """The disk of which ``header`` is the header of ``file``, over ``backing``, if that is named;
    its clusters lie in ``data``, if there is an external data file.

    Closes all of them. An image that contradicts itself can be read; what would change it raises
    OSError. Raises `BimetalError` if the image cannot be written though ``file`` may. With
    ``bitmaps`` the dirty bitmaps in it are kept up.
    """

    bitmaps: KeptBitmaps | None = None

    def __init__(
        self,
        file: ImageFile,
        header: Header,
        backing: Block | None = None,
        data: ImageFile | None = None,
        *,
        bitmaps: bool = False,
    ):
        check_compression(header.compression, file.path)
        self.name, self.readonly = file.path, file.readonly
        self.file, self.backing, self._cluster = file, backing, header.cluster
        self.places = Inside(file) if data is None else Outside(data, header)
        self._damage, self._keeps = "", bitmaps
        self._preallocated: bool | None = None
        self._read_tables(header)
        references = None if file.readonly else self._make_writable()
        if references is not None:
            self._write_tables(references)
            self._lengthen_table()
        if bitmaps:
            self._read_bitmaps()
        self._closed = False

    def _read_bitmaps(self) -> None:
        """Keep up the bitmaps from now on, or have them say that they are not, if it is written."""
        try:
            self.bitmaps = KeptBitmaps(self.file, self.header)
        except (OSError, BimetalError) as error:
            self.file.log.host_error("the dirty bitmaps cannot be read", str(error))
            self._keeps = False
            if self._writer is not None:
                self._make_writable()

    def _lengthen_table(self) -> None:
        """Have a reference table that is long enough for all of the disk: where clusters are small,
        a longer one finds no room later."""
        needed = reference_table_clusters(self.header)
        if self.header.reference_clusters >= needed or self.header.foreign:
            return
        try:
            structure = self.structure()
            structure.header.reference_clusters = needed
            self.restructure(structure)
        except OSError as error:
            self.file.log.host_error("the image cannot grow as its disk may", str(error))

    def _read_tables(self, header: Header) -> None:
        self._writer: Writer | None = None  # none writes old tables if new ones cannot be read
        self.header, self.size = header, header.size
        if self.bitmaps is not None:
            self.bitmaps.resize(self.size)
        self.pointers = Pointers(self.file.fd)
        self.tables = Tables(self.file, header, self.pointers)
        self.reader = Reader(self.file, header, self.tables, self.places, self.backing)

    def _write_tables(self, references: References) -> None:
        self._writer = Writer(self.header, self.tables, self.reader, self.places, references)

    def _make_writable(self) -> References | None:
        try:
            return make_writable(self.file, self.header, self.pointers, keeps=self._keeps)
        except DamagedImage as error:
            self._damage = (
                f"{error.strerror}; copy it and then repair it: {repair_command(self.name)}"
            )
            self.file.log.host_error("the image can only be read", self._damage)
            return None
        except OSError as error:
            raise BimetalError(
                f"the qcow2 image {self.name!r} cannot be written: {error}",
                "check the host's disk, or open the image with readonly or snapshot",
                ExitCode.DATA,
            ) from error

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.readv`."""
        self.reader.readv(offset, buffers)

    def spans(self, offset: int, buffers: Sequence[memoryview]) -> Sequence[Span] | None:
        """See `Block.spans`."""
        return self.reader.spans(offset, buffers)

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Block.extents`."""
        extents = self.reader.extents(offset, length)
        return self._holes_of(extents) if self.readonly and self._is_preallocated() else extents

    def _is_preallocated(self) -> bool:
        """Whether a tenth of the clusters have a place and no space, and two at least: then it is
        worth it to look where the file has holes. QEMU looks from the same number on."""
        if self._preallocated is None:
            status = os.fstat(self.file.fd)
            spaces = status.st_blocks * 512 // self._cluster
            counts = Counts(self.file, self.header, Pointers(self.file.fd))
            used = counts.used(-(-status.st_size // self._cluster))
            self._preallocated = used >= max(spaces * 10 // 9, spaces + 2)
        return self._preallocated

    def _holes_of(self, extents: Iterator[Extent]) -> Iterator[Extent]:
        """``extents`` cut where the file has holes, which are zero."""
        for extent in extents:
            if extent.depth or extent.zero or extent.offset is None or not self.is_inside:
                yield extent
                continue
            end = extent.offset + extent.length
            for start, stop, data in runs(self.file.fd, extent.offset, end):
                place = extent.start + start - extent.offset
                yield replace(extent, start=place, length=stop - start, offset=start, zero=not data)

    # What it lies on, and whether others lie on it

    def lie_on(self, backing: Block | None) -> None:
        """Show ``backing`` where the image itself says nothing, whatever its header names. What it
        lay on before is not closed with it any more."""
        self.backing = backing
        self.reader.lie_on(backing)

    def unseal(self) -> None:
        """See `Block.unseal`."""
        if not self.readonly or self._closed:
            return
        files = dict.fromkeys((self.file, self.places.file))
        try:
            for file in files:
                file.unseal()
            references = self._make_writable()
            if references is None:
                raise OSError(errno.EIO, self._damage)
            forget_raw(self.file)
            self.readonly = False
            self._write_tables(references)
            self._lengthen_table()
        except BaseException:
            self.readonly, self._writer = True, None
            for file in files:
                file.seal()
            raise

    def seal(self) -> None:
        """See `Block.seal`."""
        if self._closed:
            return
        self.rest()
        for file in dict.fromkeys((self.file, self.places.file)):
            file.seal()
        self.readonly, self._writer, self._preallocated = True, None, None

    # Structure

    @property
    def is_inside(self) -> bool:
        """Whether the clusters of the disk lie in the image itself."""
        return self.places.file is self.file

    def snapshots(self) -> list[Snapshot]:
        """The snapshots in the image. Raises OSError."""
        return read_snapshots(self.file, self.header)[0]

    def structure(self) -> Structure:
        """The structure of the image as it is, to be changed and given to `restructure`. Raises
        OSError, also if nothing may be changed."""
        self.writer()
        return Structure(replace(self.header), self.tables.offsets(), self.snapshots())

    def restructure(self, structure: Structure) -> None:
        """Give the image another structure, at once or not at all. Raises OSError, and
        `BimetalError` where the format has no room for it."""
        writer = self.writer()
        if self.header.foreign:
            raise BimetalError(
                f"the image {self.name!r} has parts that only other programs know of, and which "
                "would be lost",
                "make another image of it: bimetal image convert -O qcow2 OLD NEW",
                ExitCode.DATA,
            )
        self.flush()
        writer.references.give_up()
        header, used = write_structure(self.file, structure, writer.references.end())
        self.store_header(header)
        give_back(self.file, header, writer.references.counts, used)
        self._read_tables(header)
        self._write_tables(References(self.file, header, Counts(self.file, header, self.pointers)))

    def store_header(self, header: Header) -> None:
        """Store a header that names other tables. Raises OSError, `BimetalError` without room."""
        try:
            store_header(self.file, header)
        except OSError as error:  # it may be there or not
            self._damage = f"nobody knows what became of a change: {error.strerror}; open it again"
            raise

    def set_size(self, size: int) -> None:
        """Take the disk for ``size`` bytes long, for which L1 has room. Raises OSError."""
        self.places.resize(size)
        self.size = self.header.size = size
        if self.bitmaps is not None:
            self.bitmaps.resize(size)

    # Writing

    def writer(self, *, changes: bool = True) -> Writer:
        """What begins all that ``changes`` something. Raises OSError if nothing may be changed."""
        if self._damage:
            mark_damaged(self.file, self.header)
            raise OSError(errno.EIO, self._damage)
        if (writer := self._writer) is None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if changes and writer.references.crowded:
            self.flush()
            if writer.references.crowded:
                raise OSError(errno.EIO, "clusters that nobody uses cannot be freed")
        if changes and self.bitmaps is not None:
            self.bitmaps.use(self)
        return writer

    def _changing(self, offset: int, length: int) -> Writer:
        """What a change of the disk begins with; see `writer`."""
        writer = self.writer()
        if self.bitmaps is not None:
            self.bitmaps.mark(offset, length)
        return writer

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.writev`."""
        self._changing(offset, total(buffers)).writev(offset, buffers)

    def write_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        """See `Block.write_now`."""
        if (writer := self._writer) is None or self._damage or writer.references.crowded:
            return False
        if self.bitmaps is not None and not self.bitmaps.ready(offset, total(buffers)):
            return False
        return writer.write_now(offset, buffers)

    def hold(self) -> None:
        """Writes from now on belong together, until `settle`: what hides other bytes is flushed
        once for all of them, and until then none of them counts as done."""
        if self._writer is not None:
            self._writer.hold()

    @property
    def unsettled(self) -> bool:
        """Whether `settle` has anything to do."""
        return self._writer is not None and self._writer.unsettled

    def settle(self) -> None:
        """End what `hold` began. If this raises OSError, none of those writes is done."""
        if self._writer is not None:
            self._writer.settle()

    def discard(self, offset: int, length: int) -> None:
        """See `Block.discard`. Only whole clusters are worth it."""
        first = -(-offset // self._cluster) * self._cluster
        last = (offset + length) // self._cluster * self._cluster
        if first < last and self._can_drop:
            self._drop(first, last)

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """See `Block.write_zeroes`."""
        end = offset + length
        first = min(-(-offset // self._cluster) * self._cluster, end)
        last = max(end // self._cluster * self._cluster, first)
        if end == self.size:
            last = end
        if not self._can_drop:
            first = last = end
        self._write_zero_bytes(offset, first)
        if first < last:
            self._drop(first, last)
        self._write_zero_bytes(last, end)

    def _write_zero_bytes(self, start: int, stop: int) -> None:
        step = min(self._cluster, len(ZEROES))
        for offset in range(start, stop, step):
            self.writev(offset, [memoryview(ZEROES)[: min(step, stop - offset)]])

    @property
    def _can_drop(self) -> bool:
        """Whether a cluster that is gone can read as zeroes: version 2 has no mark for that, and
        who reads a raw data file knows of none."""
        if self.places.stays_raw:
            return False
        return self.header.version >= 3 or self.backing is None

    def _drop(self, start: int, stop: int) -> None:
        """Make whole clusters read as zeroes and give their space back."""
        gone = ALL_ZERO if self.header.entry_words == 2 else ZERO
        writer = self._changing(start, stop - start)
        writer.drop(start, stop, 0 if self.backing is None else gone)

    def flushing(self) -> Callable[[], None] | None:
        """See `Block.flushing`."""
        return None if self.readonly else self.flush

    def flush(self) -> None:
        """See `Block.flush`."""
        if self._writer is not None:
            self._writer.name_waiting()
        sure = self._tables_are_sure()
        if self.places.file is not self.file:
            self.places.flush()
        self.file.flush()
        if self._writer is not None and sure:
            self._writer.references.flushed()

    def _tables_are_sure(self) -> bool:
        """Whether the file holds the tables that we think it holds."""
        try:
            self.pointers.mend()
        except OSError:
            return False
        return True

    def rest(self) -> None:
        """See `Block.rest`. Bitmaps that cannot be stored are as after a crash."""
        if self.file.away:
            return
        if self._writer is not None and self.bitmaps is not None and not self.bitmaps.stored:
            try:
                self.bitmaps.store(self)
            except (OSError, BimetalError) as error:
                self.file.log.host_error("the dirty bitmaps could not be stored", str(error))
        self.flush()
        if self._writer is not None and self._tables_are_sure():
            self._writer.references.close()

    def files(self) -> tuple[str, ...]:
        """See `Block.files`."""
        own = dict.fromkeys((self.file.path, self.places.file.path))
        return (*own, *(self.backing.files() if self.backing is not None else ()))

    def images(self) -> tuple[ImageFile, ...]:
        """See `Block.images`."""
        own = dict.fromkeys((self.file, self.places.file))
        return (*own, *(self.backing.images() if self.backing is not None else ()))

    def close(self) -> None:
        """See `Block.close`."""
        if self._closed:
            return
        self._closed = True
        try:
            self.rest()
        except OSError as error:
            self.file.log.host_error("the image could not be closed well", str(error))
        finally:
            self.file.close()
            self.places.file.close()
            if self.backing is not None:
                self.backing.close()
