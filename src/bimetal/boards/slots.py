"""The rows of slots for virtio devices that boards have, and what is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.devices.pci.host import EcamHost
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.mmio_slot import VirtioSlot
from bimetal.devices.virtio.rng import VirtioRng
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import Config

__all__ = ["BUS", "VERSIONS", "virtio_devices", "virtio_slots"]

BUS = ("mmio", "pci")
"""Values of a board's option ``bus``: where virtio devices are."""
VERSIONS = {
    "modern": "bimetal.devices.virtio.mmio:VirtioMmio",
    "legacy": "bimetal.devices.virtio.mmio_legacy:VirtioMmioLegacy",
}
"""Values of a board's option ``virtio-mmio``: which version its slots speak."""
ON_PCI = "bimetal.devices.virtio.pci:VirtioPci"
PCI_SLOTS = 31
"""Slots of the root bus, beside that of the host bridge."""
KINDS: tuple[tuple[Callable[[Config], object], str], ...] = (
    (lambda config: config.nics, "nics:nics"),
    (lambda config: config.shares, "shares:shares"),
    (lambda config: config.vsock, "vsock:vsock"),
    (lambda config: config.ports, "consoles:serial_ports"),
    (lambda config: config.balloon, "balloons:balloon"),
    (lambda config: config.video or config.inputs, "screens:screen_and_inputs"),
)
"""What follows disks, console and entropy: whether there is any, and what makes it."""


def virtio_slots(m: Chassis, host: EcamHost, slots: int) -> list[VirtioSlot]:
    """The board's ``slots`` of virtio-mmio, of the version that the option ``virtio-mmio`` names.
    They are empty if the option ``bus`` wants the devices on the root bus of ``host``, where this
    puts them."""
    in_slots: list[VirtioDevice | None] = [None] * slots
    if m.config.options.get("bus") == "pci":
        free = PCI_SLOTS - int(m.config.options.get("ports", "0"))
        for slot, device in enumerate(virtio_devices(m, free), start=1):
            if device is not None:
                function = late(ON_PCI)(device, m.space, m.defer, integrated=True)
                m.add_function(host, function, slot=slot)
    else:
        in_slots = virtio_devices(m, slots)
    kind = late(VERSIONS[m.config.options.get("virtio-mmio", "modern")])
    return [kind(device, m.space, m.defer) for device in in_slots]


def virtio_devices(m: Chassis, slots: int) -> list[VirtioDevice | None]:
    """What is in each of ``slots``: the disks in order, a console if one is wanted, entropy, NICs,
    what else is wanted, and then nothing.

    Raises `BimetalError` for too many devices, and for those that cannot be had.
    """
    devices: list[VirtioDevice] = []
    try:
        for device in wanted(m):
            devices.append(device)
        if len(devices) > slots:
            others = len(devices) - len(m.config.disks)
            raise BimetalError(
                f"{len(m.config.disks)} disks do not fit into this board beside {others} devices",
                f"give it at most {slots} of both: of disks, {slots - others}",
                ExitCode.USAGE,
            )
    except BimetalError:
        for device in devices:
            device.close()
        raise
    return devices + [None] * (slots - len(devices))


def wanted(m: Chassis) -> Iterator[VirtioDevice]:
    """Make the devices that the options ask for, in their order. Raises `BimetalError`."""
    if m.config.disks or m.config.cdroms:
        yield from _made("disks:disks", m)
    if m.hvc is not None:
        yield from _made("consoles:consoles", m)
    yield VirtioRng()
    for is_wanted, what in KINDS:
        if is_wanted(m.config):
            yield from _made(what, m)


def _made(what: str, m: Chassis) -> Iterator[VirtioDevice]:
    devices: Iterator[VirtioDevice] = late(f"bimetal.boards.virtio.{what}")(m)
    return devices
