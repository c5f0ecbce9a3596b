"""What a machine is equipped with before it is built: a part of `Machine`."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike, fsdecode

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.assembly import Assembly
from bimetal.machine.config import Config, Disk
from bimetal.machine.wanted import Share, Vsock

__all__ = ["Equipment", "Path"]

Path = str | PathLike[str]


class Equipment:
    """Methods that add devices; all are called before `Machine.start`."""

    config: Config
    _parts: Assembly

    def disk(
        self,
        path: Path,
        *,
        readonly: bool = False,
        snapshot: bool = False,
        serial: str = "",
        format: str | None = None,
        backing_folders: Iterable[Path] = (),
    ) -> None:
        """Add the image at ``path`` as the next disk. ``format`` is ``raw``, ``qcow2``, or one that
        is only read: ``vdi``, ``vhdx``, ``vmdk``, ``vpc``; without it the name says it, and what
        does not look like another format is raw. With ``snapshot`` the guest's writes are discarded
        at the end. ``serial`` is a serial number of at most 20 characters, by which the guest can
        identify the disk. Files that the image names lie in its folder or below it, or in
        ``backing_folders``. Call before `start`, which raises `BimetalError` if the image is not
        usable."""
        self._check_not_built("disks")
        folders = tuple(map(fsdecode, backing_folders))
        self.config.disks.append(Disk(fsdecode(path), readonly, snapshot, serial, format, folders))

    def share(self, path: Path, *, tag: str, readonly: bool = False, security: str = "") -> None:
        """Share the folder at ``path`` with the guest, which mounts it by its ``tag`` as a 9P file
        system. ``security`` says how the owners, modes and kinds of the guest's files are kept:
        ``mapped-xattr`` in extended attributes, ``passthrough`` as the host's own (which takes
        root), ``none`` likewise as far as that is allowed. The default is ``mapped-xattr``, or
        ``none`` if the folder is ``readonly``. Call before `start`, which raises `BimetalError` if
        the folder cannot be shared."""
        self._check_not_built("shares")
        share = Share(fsdecode(path), tag, readonly, security)
        if any(other.tag == tag for other in self.config.shares):
            raise BimetalError(
                f"two shares have the tag {tag!r}", "give each its own", ExitCode.USAGE
            )
        self.config.shares.append(share)

    def vsock(self, path: Path, *, cid: int = 3) -> None:
        """Let host and guest connect to each other's ports by sockets of the family AF_VSOCK. The
        host connects to the Unix socket at ``path`` and sends ``CONNECT PORT``; the guest, which
        has the context ``cid``, reaches who listens at the Unix socket ``path_PORT`` as port PORT
        of its host, context 2. Call before `start`, which raises `BimetalError` if the path cannot
        be listened at."""
        self._check_not_built("vsocks")
        if self.config.vsock is not None:
            raise BimetalError("a machine has one vsock", "leave one away", ExitCode.USAGE)
        self.config.vsock = Vsock(fsdecode(path), cid)

    def _check_not_built(self, what: str) -> None:
        if self._parts.hardware is not None:
            raise BimetalError(
                "the machine is already built", f"add {what} before anything else", ExitCode.USAGE
            )
