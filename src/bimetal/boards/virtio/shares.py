"""Folders of the host that the guest mounts."""

from __future__ import annotations

from collections.abc import Iterator

from bimetal.backends.share.folder import Folder
from bimetal.backends.share.server import Server
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.ninep import VirtioNinep
from bimetal.machine.chassis import Chassis

__all__ = ["shares"]


def shares(m: Chassis) -> Iterator[VirtioDevice]:
    """The folders in their order. Raises `BimetalError` for one that cannot be shared."""
    for share in m.config.shares:
        folder = Folder(share.path, readonly=share.readonly, security=share.model)
        yield VirtioNinep(Server(folder), share.tag)
