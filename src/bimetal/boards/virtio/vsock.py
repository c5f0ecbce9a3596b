"""Connections between programs of guest and host."""

from __future__ import annotations

from collections.abc import Iterator

from bimetal.backends.vsock.sockets import VsockSockets
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.vsock import VirtioVsock
from bimetal.machine.chassis import Chassis

__all__ = ["vsock"]


def vsock(m: Chassis) -> Iterator[VirtioDevice]:
    """The device for them, of a machine that is to have one."""
    wanted = m.config.vsock
    assert wanted is not None
    sockets = VsockSockets(wanted.path)
    m.serve(sockets)
    yield VirtioVsock(sockets, wanted.cid)
