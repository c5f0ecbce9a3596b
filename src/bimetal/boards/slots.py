"""The rows of slots for virtio devices that boards have, and what is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.boards.choices import MMIO_VERSIONS
from bimetal.devices.pci.bus import FUNCTIONS
from bimetal.devices.pci.host import EcamHost
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.mmio_slot import VirtioSlot
from bimetal.devices.virtio.rng import VirtioRng
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import Config
from bimetal.machine.wanted import GPU, SCSI, USB, VIRTIO, PciPlace

__all__ = ["virtio_devices", "virtio_slots"]

ON_PCI = "bimetal.devices.virtio.pci:VirtioPci"
PCI_SLOTS = 31
"""Slots of the root bus, beside that of the host bridge."""
KINDS: tuple[tuple[Callable[[Config], object], str], ...] = (
    (lambda config: config.nics, "nics:nics"),
    (lambda config: config.shares, "shares:shares"),
    (lambda config: config.vsock, "vsock:vsock"),
    (lambda config: config.ports, "consoles:serial_ports"),
    (lambda config: config.balloon, "balloons:balloon"),
    (lambda config: config.video or _inputs(config), "screens:screen_and_inputs"),
)
"""What follows disks, console and entropy: whether there is any, and what makes it."""


def _inputs(config: Config) -> list[str]:
    """The kinds of input devices that are virtio's."""
    return [each.kind for each in config.inputs if each.bus == VIRTIO]


def virtio_slots(m: Chassis, host: EcamHost, slots: int) -> list[VirtioSlot]:
    """The board's ``slots`` of virtio-mmio, of the version that the option ``virtio-mmio`` names.
    They are empty if the option ``bus`` wants the devices on the root bus of ``host``, where this
    puts them."""
    in_slots: list[VirtioDevice | None] = [None] * slots
    if m.config.options.get("bus") == "pci":
        _put_on_bus(m, host)
    elif m.config.places.keys() - {USB}:
        raise BimetalError(
            "places on PCI, for devices that are not there", "add bus=pci", ExitCode.USAGE
        )
    else:
        in_slots = virtio_devices(m, slots)
    kind = late(MMIO_VERSIONS[m.config.options.get("virtio-mmio", "modern")])
    return [kind(device, m.space, m.defer) for device in in_slots]


def _put_on_bus(m: Chassis, host: EcamHost) -> None:
    """Put the devices where they are wanted, and others in the slots that are free then. Raises
    `BimetalError`."""
    devices = dict(zip(_names(m), _all(m), strict=True))
    places = {name: place for name, place in m.config.places.items() if name != USB}
    try:
        for name in places:
            if name not in devices:
                raise BimetalError(
                    f"there is no device {name!r} for a place on PCI",
                    f"choose from {', '.join(devices)}",
                    ExitCode.USAGE,
                )
        for name in sorted(devices, key=lambda name: name not in places):
            device = devices.pop(name)
            _put(m, host, device, places.get(name) or PciPlace(slot=_free_slot(host)))
    except BaseException:
        for device in devices.values():
            device.close()
        raise


def _put(m: Chassis, host: EcamHost, device: VirtioDevice, place: PciPlace) -> None:
    try:
        if place.port and m.sockets is not None:
            m.sockets.build_in(late(ON_PCI)(device, m.space, m.defer), place.port)
            return
        if place.port:
            raise ValueError("there are no root ports")
        function = late(ON_PCI)(device, m.space, m.defer, integrated=True)
        m.add_function(host, function, slot=place.slot, number=place.function)
    except (BimetalError, ValueError) as error:
        device.close()
        where = f"behind port {place.port}" if place.port else f"{place.slot:#x}.{place.function}"
        raise BimetalError(
            f"no device can be at {where}: {error}", "give each its own place", ExitCode.USAGE
        ) from error


def _free_slot(host: EcamHost) -> int:
    """The first slot of the root bus in which nothing is."""
    for slot in range(1, PCI_SLOTS + 1):
        if host.bus.at(slot * FUNCTIONS) is None:
            return slot
    raise BimetalError(
        f"the {PCI_SLOTS} slots of the root bus are taken", "give it fewer devices", ExitCode.USAGE
    )


def virtio_devices(m: Chassis, slots: int) -> list[VirtioDevice | None]:
    """What is in each of ``slots``: the disks in order, a console if one is wanted, entropy, NICs,
    what else is wanted, and then nothing.

    Raises `BimetalError` for too many devices, and for those that cannot be had.
    """
    devices = _all(m)
    if len(devices) > slots:
        for device in devices:
            device.close()
        others = len(devices) - len(m.config.disks)
        raise BimetalError(
            f"{len(m.config.disks)} disks do not fit into this board beside {others} devices",
            f"give it at most {slots} of both: of disks, {slots - others}",
            ExitCode.USAGE,
        )
    return [*devices, *[None] * (slots - len(devices))]


def _all(m: Chassis) -> list[VirtioDevice]:
    """The devices that the options ask for, in their order. Raises `BimetalError`."""
    devices: list[VirtioDevice] = []
    try:
        for device in wanted(m):
            devices.append(device)
    except BimetalError:
        for device in devices:
            device.close()
        raise
    return devices


def _names(m: Chassis) -> Iterator[str]:
    """What these devices are called where a place is said for one (`Machine.place`)."""
    config = m.config
    buses = [disk.bus for disk in config.disks]
    yield from (f"disk{number}" for number, bus in enumerate(buses) if bus == VIRTIO)
    if config.on(SCSI):
        yield "scsi"
    if m.hvc is not None:
        yield "hvc"
    yield "rng"
    yield from (f"nic{number}" for number in range(len(config.nics)))
    yield from (f"share{number}" for number in range(len(config.shares)))
    single = {"vsock": config.vsock, "serial": config.ports, "balloon": config.balloon}
    yield from (name for name, is_wanted in single.items() if is_wanted)
    if config.video is not None and config.video.kind == GPU:
        yield "gpu"
    yield from _inputs(config)


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
