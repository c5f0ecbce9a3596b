"""Images of disks in use that are served to others by NBD."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct, field

from bimetal.base.clock import Countdown
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.lock import FairLock
from bimetal.machine.runner import closed_error

if TYPE_CHECKING:
    from bimetal.backends.block.bitmaps import DirtyBitmap
    from bimetal.backends.block.nbd.exported import Exported
    from bimetal.machine.live.disk_server import DiskServer

__all__ = ["Export", "Exports"]

END_SECONDS = 5.0


class Export(Struct, frozen=True, eq=False):
    """The export ``id`` of the image at ``path``, of which clients are told what ``bitmaps`` mark,
    which stay as they are meanwhile."""

    id: str
    path: str
    exported: Exported
    bitmaps: tuple[DirtyBitmap, ...] = field(default_factory=tuple)

    @property
    def name(self) -> str:
        """By what clients ask for it."""
        return self.exported.name


class Exports:
    """Those of a machine, and their server, if there is one. An `Onlooker`. They change with the
    machine's ``lock`` held, which `stop` and `end` take for themselves. Methods raise
    `BimetalError`."""

    def __init__(self, lock: FairLock) -> None:
        self.lock = lock
        self._all: dict[str, Export] = {}
        self._server: DiskServer | None = None
        self._stopping = self._over = False

    def __iter__(self) -> Iterator[Export]:
        return iter([*self._all.values()])

    @property
    def serving(self) -> bool:
        """Whether there is a server."""
        return self._server is not None

    def check_none(self) -> None:
        """Raise `BimetalError` if there is a server."""
        if self._server is not None:
            raise _wrong("there is a server already", "end it: nbd-server-stop")

    def begin(self, server: DiskServer) -> None:
        """Have a server, which is started, if there is none. Call with the machine's lock held."""
        self.check_none()
        if self._over:
            raise closed_error()
        server.start()
        self._server = server

    def check_new(self, id_: str, name: str) -> None:
        """Raise `BimetalError` unless there can be such an export."""
        if self._server is None or self._stopping:
            raise _wrong("there is no server", "begin one: nbd-server-start")
        for each in self:
            if id_ == each.id or name == each.name:
                raise _wrong(f"there is an export {each.id[:80]!r} already", "name another")

    def add(self, export: Export) -> None:
        """Have one more, which `check_new` has nothing against. Call with the machine's lock
        held since then."""
        assert self._server is not None
        self._all[export.id] = export
        self._server.images.exports.add(export.exported)

    def __getitem__(self, id_: str) -> Export:
        """The export of that id."""
        if id_ not in self._all:
            there = ", ".join(self._all) or "none"
            raise _wrong(f"there is no export {id_[:80]!r}", f"there are {there[:400]}")
        return self._all[id_]

    def in_use(self, export: Export) -> bool:
        """Whether a client uses an export."""
        server = self._server
        return server is not None and server.images.in_use(export.exported)

    def remove(self, export: Export) -> None:
        """Have one no more: clients that use it are hung up on, and its bitmaps may change. Call
        with the machine's lock held."""
        if self._all.pop(export.id, None) is None:
            return
        export.exported.disk.close()
        if self._server is not None:
            self._server.images.remove(export.exported)
        for bitmap in export.bitmaps:
            bitmap.unserve()

    def stop(self) -> None:
        """Have no exports, and no server. Without the machine's lock."""
        if not self._ended(END_SECONDS):
            raise BimetalError(
                "the server does not end",
                "the host holds it, perhaps in a file that it cannot read",
                ExitCode.UNAVAILABLE,
            )

    def end(self, seconds: float) -> bool:
        """See `Onlooker.end`: no other server begins after that."""
        self._over = True
        return self._ended(seconds)

    def _ended(self, seconds: float) -> bool:
        countdown = Countdown(seconds)
        if not self.lock.acquire(timeout=countdown.left):
            return False
        try:
            server, self._stopping = self._server, True
            for each in self:
                self.remove(each)
        finally:
            self.lock.release()
        ended = server is None or server.end(countdown.left)
        with self.lock:
            if self._server is server:
                self._stopping = False
                self._server = None if ended else server
        return ended

    def forked(self) -> None:
        """See `Onlooker.forked`: a machine whose disks are served is not copied."""


def _wrong(cause: str, remedy: str) -> BimetalError:
    return BimetalError(cause, remedy, ExitCode.USAGE)
