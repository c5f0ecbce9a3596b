"""The virtio devices that a machine's options ask for, on boards with a row of slots for them."""

from __future__ import annotations

from bimetal.backends.block.choose import open_disk
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.devices.virtio.console import VirtioConsole
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.rng import VirtioRng
from bimetal.machine.chassis import Chassis
from bimetal.machine.console import ConsoleLine

__all__ = ["virtio_devices"]


def virtio_devices(m: Chassis, slots: int) -> list[VirtioDevice | None]:
    """What is in each of ``slots``: the disks in order, a console if one is wanted, entropy, and
    then nothing.

    Raises `BimetalError` for too many disks.
    """
    others: list[VirtioDevice] = [] if m.hvc is None else [console(m.hvc)]
    others.append(VirtioRng())
    if len(m.config.disks) + len(others) > slots:
        raise BimetalError(
            f"{len(m.config.disks)} disks do not fit into this board",
            f"give it at most {slots - len(others)}",
            ExitCode.USAGE,
        )
    disks: list[VirtioDevice] = []
    try:
        for disk in m.config.disks:
            image = open_disk(
                disk.path, readonly=disk.readonly, snapshot=disk.snapshot, format=disk.format
            )
            disks.append(VirtioBlock(image, serial=disk.serial))
    except BimetalError:
        for device in disks:
            device.close()
        raise
    devices = disks + others
    return devices + [None] * (slots - len(devices))


def console(line: ConsoleLine) -> VirtioConsole:
    """The console at the end of ``line``, which tells of the terminal's size if it has one."""
    device = VirtioConsole(line, line.size)
    line.on_resize = device.resize if line.size is not None else None
    return device
