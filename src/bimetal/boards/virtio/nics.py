"""NICs, and what their cables lead to."""

from __future__ import annotations

from collections.abc import Iterator

from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.net import VirtioNet
from bimetal.machine.cables import open_nic
from bimetal.machine.chassis import Chassis
from bimetal.machine.nics import macs_of

__all__ = ["nics"]


def nics(m: Chassis) -> Iterator[VirtioDevice]:
    """The NICs in their order. Raises `BimetalError` if a network cannot be had."""
    wanted = m.config.nics
    macs = macs_of(wanted, [disk.path for disk in m.config.disks])
    for number, (nic, mac) in enumerate(zip(wanted, macs, strict=True)):
        network = open_nic(nic, number)
        m.serve(network)
        yield VirtioNet(network, mac, pairs=nic.queues, mtu=nic.mtu, speed=nic.speed)
