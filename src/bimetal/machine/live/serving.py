"""Disks in use that others read by NBD, as backup programs do: a part of `LiveDisks`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from os import PathLike, fsdecode

from bimetal.backends.block.bitmaps import DirtyBitmap
from bimetal.backends.block.block import Block
from bimetal.backends.block.nbd.exported import Exported
from bimetal.backends.block.nbd.protocol import DEFAULT_PORT, NAME_LIMIT
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.paths import same_file
from bimetal.machine.assembly import Assembly
from bimetal.machine.live.backup import Backup
from bimetal.machine.live.bitmaps import checked
from bimetal.machine.live.chain import chain_of
from bimetal.machine.live.disk_server import DiskServer
from bimetal.machine.live.exports import Export, Exports
from bimetal.machine.live.jobs import Jobs
from bimetal.machine.live.seat import Seat, seats_of
from bimetal.machine.live.visited import VisitedDisk

__all__ = ["Serving"]

Path = str | PathLike[str]


class Serving:
    """What is served. All methods raise `BimetalError`, and then nothing has changed."""

    _parts: Assembly
    _jobs: Jobs

    @abstractmethod
    def _seat(self, drive: str) -> Seat:
        """The disk of that name. Call with the machine's lock held."""

    @property
    def exports(self) -> Exports:
        """The images that are served."""
        return self._jobs.exports

    def serve_disks(
        self,
        *,
        socket: Path = "",
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        clients: int = 16,
    ) -> str:
        """Begin to serve images by NBD, at a Unix socket, or at a port of an address of this host
        (0: any that is free), to so many clients at a time; a URI of the server. There is no
        encryption, and nobody is asked for a password. Not of a machine that moves to another
        process: what that writes would be read as it was, or half."""
        self.exports.check_none()
        server = DiskServer(path=fsdecode(socket), host=host, port=port, clients=clients)
        try:
            with self.exports.lock, self._jobs.here():
                self.exports.begin(server)
        except BaseException:
            server.end(0)
            raise
        return str(server.images.address)

    def export_disk(
        self, image: Path, name: str, *, bitmaps: Iterable[str | tuple[str, str]] = (), id: str = ""
    ) -> Export:
        """Serve the image at a path as the export ``name``, to be read: one of a disk, or the one
        that a backup with ``sync="none"`` copies to, which shows the disk as it was when that
        began, if it lies on it. Clients are told what dirty ``bitmaps`` mark, which mark nothing
        new, and which nobody changes meanwhile: of that image, or of one below it, by name, or by
        the path of the image and the name."""
        id, path, runner = id or name, fsdecode(image), self._parts.built()
        if not name or len(name.encode()) > NAME_LIMIT:
            raise _wrong(f"{name[:80]!r} is no name for an export", "name the disk, say")
        with runner.locked():
            self.exports.check_new(id, name)
            seat, found, belongs = self._found(path)
            places = [("", each) if isinstance(each, str) else each for each in bitmaps]
            marks = {called: _bitmap_of(found, where, called) for where, called in places}
            served = {each: bitmap.serve() for each, bitmap in marks.items()}
            disk = VisitedDisk(seat, found, belongs)
            exported = Exported(disk, name, readonly=True, bitmaps=served)
            export = Export(id, path, exported, tuple(marks.values()))
            self.exports.add(export)
        return export

    def unexport_disk(self, id: str) -> None:
        """Serve an image no more; clients that read it are hung up on."""
        with self._parts.built().locked():
            self.exports.remove(self.exports[id])

    def stop_serving(self) -> None:
        """Serve nothing any more."""
        self.exports.stop()

    def _found(self, path: str) -> tuple[Seat, Block, Callable[[], bool]]:
        """The disk that has the image at ``path``, the image, and what tells, on a visit, whether
        it still has it. Call with the machine's lock held."""
        for job in self._jobs:
            if isinstance(job, Backup) and job.shows() and same_file(job.target.name, path):
                return job.seat, job.target, job.shows
        for seat, image in self._images():
            if same_file(image.name, path):
                return seat, image, partial(_has, seat, image)
        raise _wrong(
            f"no disk of the machine has the image {path[:200]!r} now",
            "name one that is in use: query-named-block-nodes",
        )

    def _images(self) -> Iterator[tuple[Seat, Block]]:
        for seat in seats_of(self._parts.built()):
            for image in chain_of(seat.image):
                yield seat, image


def _has(seat: Seat, image: Block) -> bool:
    return any(each is image for each in chain_of(seat.image))


def _bitmap_of(image: Block, path: str, name: str) -> DirtyBitmap:
    """The bitmap of that name of an image or one below it, or of the one at the path among these.
    Raises `BimetalError`."""
    for each in chain_of(image):
        there = each.bitmaps is not None and name in each.bitmaps
        if same_file(each.name, path) if path else there:
            bitmap = checked(each, name, readonly=True)
            if bitmap.recording and not each.readonly:
                raise _wrong(
                    f"the dirty bitmap {name[:80]!r} marks what changes, and would be outdated",
                    "disable it, or merge it into one that is: block-dirty-bitmap-disable",
                )
            if each.size < image.size:
                raise _wrong(
                    f"the dirty bitmap {name[:80]!r} tells of {each.size} bytes, and there are "
                    f"{image.size} in {image.name!r}",
                    "name one of an image as large",
                )
            return bitmap
    raise _wrong(
        f"there is no dirty bitmap {name[:80]!r} of {image.name!r}, or of what that lies on",
        "see query-named-block-nodes",
    )


def _wrong(cause: str, remedy: str) -> BimetalError:
    return BimetalError(cause, remedy, ExitCode.USAGE)
