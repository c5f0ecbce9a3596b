"""The virtio devices that a machine's options ask for, on boards with a row of slots for them."""

from __future__ import annotations

from collections.abc import Iterator

from bimetal.backends.block.block import Block
from bimetal.backends.block.choose import open_disk
from bimetal.backends.chars.choose import open_chars
from bimetal.backends.chars.protocol import CharBackend
from bimetal.backends.share.folder import Folder
from bimetal.backends.share.server import Server
from bimetal.backends.vsock.sockets import VsockSockets
from bimetal.base.clock import Clock
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.devices.pci.host import EcamHost
from bimetal.devices.scsi.cdrom import ScsiCdrom
from bimetal.devices.scsi.disk import ScsiDisk
from bimetal.devices.scsi.unit import Unit
from bimetal.devices.virtio.aside import Aside
from bimetal.devices.virtio.balloon import VirtioBalloon
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.devices.virtio.console import VirtioConsole
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.gpu import VirtioGpu
from bimetal.devices.virtio.input import VirtioInput, keyboard, tablet
from bimetal.devices.virtio.mmio import VirtioMmio
from bimetal.devices.virtio.mmio_legacy import VirtioMmioLegacy
from bimetal.devices.virtio.mmio_slot import VirtioSlot
from bimetal.devices.virtio.net import VirtioNet
from bimetal.devices.virtio.ninep import VirtioNinep
from bimetal.devices.virtio.pci import VirtioPci
from bimetal.devices.virtio.rng import VirtioRng
from bimetal.devices.virtio.scsi import VirtioScsi
from bimetal.devices.virtio.serial import VirtioSerial
from bimetal.devices.virtio.throttle import Throttle
from bimetal.devices.virtio.vsock import VirtioVsock
from bimetal.machine.cables import open_nic
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import SCSI, Config, Disk
from bimetal.machine.console import ConsoleLine
from bimetal.machine.nics import Nic, macs_of
from bimetal.machine.wanted import GPU, KEYBOARD, TABLET, Share

__all__ = ["BUS", "VERSIONS", "disk_device", "virtio_devices", "virtio_slots"]

BUS = ("mmio", "pci")
"""Values of a board's option ``bus``: where virtio devices are."""
VERSIONS = {"modern": VirtioMmio, "legacy": VirtioMmioLegacy}
"""Values of a board's option ``virtio-mmio``: which version its slots speak."""
INPUT_KINDS = {KEYBOARD: keyboard, TABLET: tablet}
PCI_SLOTS = 31
"""Slots of the root bus, beside that of the host bridge."""


def virtio_slots(m: Chassis, host: EcamHost, slots: int) -> list[VirtioSlot]:
    """The board's ``slots`` of virtio-mmio, of the version that the option ``virtio-mmio`` names.
    They are empty if the option ``bus`` wants the devices on the root bus of ``host``, where this
    puts them."""
    in_slots: list[VirtioDevice | None] = [None] * slots
    if m.config.options.get("bus") == "pci":
        free = PCI_SLOTS - int(m.config.options.get("ports", "0"))
        for slot, device in enumerate(virtio_devices(m, free), start=1):
            if device is not None:
                function = VirtioPci(device, m.space, m.defer, integrated=True)
                m.add_function(host, function, slot=slot)
    else:
        in_slots = virtio_devices(m, slots)
    kind = VERSIONS[m.config.options.get("virtio-mmio", "modern")]
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
    for disk in m.config.disks:
        if disk.bus != SCSI:
            yield disk_device(disk, m.clock, m.aside)
    units = scsi_units(m.config)
    if units:
        yield VirtioScsi(units, m.aside)
    if m.hvc is not None:
        yield console(m.hvc)
    yield VirtioRng()
    macs = macs_of(m.config.nics, [disk.path for disk in m.config.disks])
    for number, (nic, mac) in enumerate(zip(m.config.nics, macs, strict=True)):
        yield virtio_nic(m, nic, mac, number)
    for share in m.config.shares:
        yield shared_folder(share)
    if m.config.vsock is not None:
        sockets = VsockSockets(m.config.vsock.path)
        m.serve(sockets)
        yield VirtioVsock(sockets, m.config.vsock.cid)
    if m.config.ports:
        yield serial_ports(m)
    if m.config.balloon:
        yield VirtioBalloon()
    yield from screen_and_inputs(m)


def screen_and_inputs(m: Chassis) -> Iterator[VirtioDevice]:
    """The GPU, and what people type and point with."""
    video = m.config.video
    if video is not None and video.kind == GPU:
        gpu = VirtioGpu(video.width, video.height)
        m.screen = gpu.screen
        yield gpu
    for kind in m.config.inputs:
        device = VirtioInput(INPUT_KINDS[kind]())
        m.inputs[kind] = device
        yield device


def disk_device(disk: Disk, clock: Clock, aside: Aside | None) -> VirtioBlock:
    """The disk. Raises `BimetalError` if its image cannot be used."""
    limited = disk.iops or disk.bps
    throttle = Throttle(clock, disk.iops, disk.bps) if limited else None
    return VirtioBlock(
        image_of(disk), disk.serial, queues=disk.queues, throttle=throttle, aside=aside
    )


def image_of(disk: Disk) -> Block:
    """The image of a disk. Raises `BimetalError`."""
    return open_disk(
        disk.path,
        readonly=disk.readonly,
        snapshot=disk.snapshot,
        format=disk.format,
        folders=disk.backing_folders,
    )


def scsi_units(config: Config) -> list[Unit]:
    """The units on the SCSI bus: disks in their order, then CD-ROM drives. Raises
    `BimetalError`."""
    units: list[Unit] = []
    try:
        for disk in config.disks:
            if disk.bus == SCSI:
                units.append(ScsiDisk(image_of(disk), disk.serial))
        for number, path in enumerate(config.cdroms):
            image = None if path is None else open_disk(path, readonly=True)
            units.append(ScsiCdrom(image, f"cd{number}"))
    except BimetalError:
        for unit in units:
            unit.close()
        raise
    return units


def console(line: ConsoleLine) -> VirtioConsole:
    """The console at the end of ``line``, which tells of the terminal's size if it has one."""
    device = VirtioConsole(line, line.size)
    line.on_resize = device.resize if line.size is not None else None
    return device


def virtio_nic(m: Chassis, nic: Nic, mac: bytes, number: int) -> VirtioNet:
    """NIC ``number`` of the machine, and what its cable leads to. Raises `BimetalError` if that
    cannot be had."""
    network = open_nic(nic, number)
    m.serve(network)
    return VirtioNet(network, mac, pairs=nic.queues, mtu=nic.mtu, speed=nic.speed)


def serial_ports(m: Chassis) -> VirtioSerial:
    """The ports for programs in the guest. Raises `BimetalError`."""
    ends: list[CharBackend] = []
    try:
        for port in m.config.ports:
            ends.append(open_chars(port.where))
    except BimetalError:
        for end in ends:
            end.close()
        raise
    for end in ends:
        m.serve(end)
    return VirtioSerial([(port.name, end) for port, end in zip(m.config.ports, ends, strict=True)])


def shared_folder(share: Share) -> VirtioNinep:
    """The folder that the guest mounts. Raises `BimetalError` if it cannot be shared."""
    folder = Folder(share.path, readonly=share.readonly, security=share.model)
    return VirtioNinep(Server(folder), share.tag)
