"""Images of disks in use that are served to others by NBD."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, field

from bimetal.backends.block.bitmaps import DirtyBitmap
from bimetal.backends.block.nbd.exported import Exported
from bimetal.backends.block.nbd.exported import Exports as Served
from bimetal.backends.block.nbd.server import ImageServer
from bimetal.backends.listening import listen_tcp, listen_unix
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.threads import EndingThread

__all__ = ["Export", "Exports"]

BACKLOG = 16
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
    """Those of a machine, and their server, if there is one. An `Onlooker`. Methods raise
    `BimetalError`."""

    def __init__(self) -> None:
        self._all: dict[str, Export] = {}
        self._server: ImageServer | None = None
        self._thread: EndingThread | None = None

    def __iter__(self) -> Iterator[Export]:
        return iter([*self._all.values()])

    @property
    def serving(self) -> bool:
        """Whether there is a server."""
        return self._server is not None

    def serve(self, *, path: str = "", host: str = "", port: int = 0, clients: int = 1) -> str:
        """Have a server, at a Unix socket, or at a port, for so many clients at a time; where it
        is found."""
        if self._server is not None:
            raise _wrong("there is a server already", "end it: nbd-server-stop")
        if clients < 1 or not 0 <= port < 65536:
            raise _wrong(f"no server for {clients} clients at port {port}", "serve one at least")
        listener = listen_unix(path, BACKLOG) if path else listen_tcp(host, port, BACKLOG)
        server = self._server = ImageServer(Served(), listener, clients)
        self._thread = EndingThread(server.run, "nbd")
        self._thread.start()
        return str(server.address)

    def check_new(self, id_: str, name: str) -> None:
        """Raise `BimetalError` unless there can be such an export."""
        if self._server is None:
            raise _wrong("there is no server", "begin one: nbd-server-start")
        for each in self:
            if id_ == each.id or name == each.name:
                raise _wrong(f"there is an export {each.id[:80]!r} already", "name another")

    def add(self, export: Export) -> None:
        """Have one more, which `check_new` has nothing against."""
        assert self._server is not None
        self._all[export.id] = export
        self._server.exports.add(export.exported)

    def __getitem__(self, id_: str) -> Export:
        """The export of that id."""
        if id_ not in self._all:
            there = ", ".join(self._all) or "none"
            raise _wrong(f"there is no export {id_[:80]!r}", f"there are {there[:400]}")
        return self._all[id_]

    def in_use(self, export: Export) -> bool:
        """Whether a client uses an export."""
        return self._server is not None and self._server.in_use(export.exported)

    def remove(self, export: Export) -> None:
        """Have one no more: clients that use it are hung up on, and its bitmaps may change. Call
        with the machine's lock held."""
        if self._all.pop(export.id, None) is None:
            return
        export.exported.disk.close()
        if self._server is not None:
            self._server.remove(export.exported)
        for bitmap in export.bitmaps:
            bitmap.unserve()

    def stop(self) -> None:
        """Have no server, once all exports are removed."""
        if not self.end(END_SECONDS):
            raise BimetalError(
                "the server does not end",
                "the host holds it, perhaps in a file that it cannot read",
                ExitCode.UNAVAILABLE,
            )

    def end(self, seconds: float) -> bool:
        """See `Onlooker.end`."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return True
        server.stop()
        if not thread.ended(seconds):
            return False
        self._server = self._thread = None
        server.close()
        return True

    def forked(self) -> None:
        """See `Onlooker.forked`: a machine whose disks are served is not copied."""


def _wrong(cause: str, remedy: str) -> BimetalError:
    return BimetalError(cause, remedy, ExitCode.USAGE)
