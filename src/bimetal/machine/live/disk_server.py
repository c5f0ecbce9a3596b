"""The server by which images of disks in use are read by others, by NBD."""

from __future__ import annotations

from bimetal.backends.block.nbd.exported import Exports as Served
from bimetal.backends.block.nbd.server import ImageServer
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.failing import host_failures
from bimetal.base.threads import EndingThread, Lock

__all__ = ["DiskServer"]


class DiskServer:
    """A server at a Unix socket, or at a port, for so many clients at a time, and its thread. It
    does nothing before `start`. Raises `BimetalError`."""

    def __init__(self, *, path: str, host: str, port: int, clients: int):
        if clients < 1 or not 0 <= port < 65536:
            raise BimetalError(
                f"no server for {clients} clients at port {port}",
                "serve one at least",
                ExitCode.USAGE,
            )
        with host_failures("there can be no server"):
            self.images = ImageServer(
                Served(), path=path or None, host=host, port=port, shared=clients
            )
        self._thread = EndingThread(self.images.run, "nbd")
        self._ending = Lock()

    def start(self) -> None:
        """Serve."""
        self._thread.start()

    def end(self, seconds: float) -> bool:
        """Serve no more; False if that takes more than so many seconds. Idempotent, and several
        threads may do it at once; without the machine's lock, for which clients wait."""
        self.images.stop()
        if not self._thread.ended(seconds):
            return False
        with self._ending:
            self.images.close()
        return True
