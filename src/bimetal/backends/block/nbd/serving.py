"""An image from the host's files to clients: opened, offered at an address, and closed."""

from __future__ import annotations

import os
from typing import Any

from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.nbd.exported import Exported, Exports
from bimetal.backends.block.nbd.protocol import DEFAULT_PORT, NAME_LIMIT
from bimetal.backends.block.nbd.server import ImageServer
from bimetal.base.closes import Closes
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.log import EventLog

__all__ = ["ServedImage"]


class ServedImage(Closes):
    """The image at ``path``, served by NBD to at most ``shared`` clients at a time, at the Unix
    socket ``socket`` if that is given, or else at ``host`` and ``port`` (0: any that is free).
    Clients ask for it by ``name``, or by no name. ``format``, ``snapshot`` and ``folders`` are
    those of a disk; one that is ``readonly`` is not written. A context manager; `run` serves.

    Raises `BimetalError` for an image that cannot be opened and an address that cannot be had.
    """

    def __init__(
        self,
        path: str,
        *,
        format: str | None = None,
        readonly: bool = False,
        snapshot: bool = False,
        folders: tuple[str, ...] = (),
        name: str = "",
        socket: str | None = None,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        shared: int = 1,
    ):
        if shared < 1 or not 0 <= port < 65536 or len(os.fsencode(name)) > NAME_LIMIT:
            raise BimetalError(
                f"an image is not served to {shared} clients, at port {port}, by a name of "
                f"{len(name)} letters",
                "serve it to at least one, at a port up to 65535, by a shorter name",
                ExitCode.USAGE,
            )
        self._disk = open_disk(
            path, readonly=readonly, snapshot=snapshot, format=format, folders=folders
        )
        export = Exported(self._disk, name, readonly=readonly or self._disk.readonly)
        place: Any = {"host": host, "port": port} if socket is None else {"path": socket}
        try:
            self._server = ImageServer(Exports(export), shared=shared, name=name, **place)
        except BaseException:
            self._disk.close()
            raise
        self._closed = False
        self._log = EventLog("nbd")

    @property
    def address(self) -> str:
        """Where clients find it, as a URI."""
        return str(self._server.address)

    def run(self) -> None:
        """Serve until `stop`."""
        self._server.run()

    def stop(self) -> None:
        """Have `run` return when the request that is being done is done; from any thread."""
        self._server.stop()

    def close(self) -> None:
        """Hang up, and close the image. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            self._server.close()
        except OSError as error:
            self._log.host_error("the last writes may be lost", str(error))
        self._disk.close()
