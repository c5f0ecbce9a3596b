"""Commands that plug devices in and unplug them."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Literal

from bimetal.base.errors import ExitCode
from bimetal.control.commands.registry import MACHINE
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import Managed
from bimetal.machine.expect import TimedOut

__all__ = ["device_add", "device_del"]

DISKS = ("virtio-blk-pci", "virtio-blk-pci-non-transitional")


@MACHINE.command("device_add")
def device_add(
    vm: Managed,
    driver: Annotated[
        Literal[
            "virtio-blk-pci",
            "virtio-blk-pci-non-transitional",
            "virtio-net-pci",
            "virtio-net-pci-non-transitional",
        ],
        "what to plug in",
    ],
    id: Annotated[str, "what to call it"],
    drive: Annotated[str, "of a disk: the node of its image"] = "",
    serial: Annotated[str, "of a disk: its serial number"] = "",
    network: Annotated[str, "of a NIC: its network, as the command line has it"] = "user",
    mac: Annotated[str, "of a NIC: its address"] = "",
) -> None:
    """Plug in a device, in the first slot that is free."""
    with vm.lock:
        if id in vm.devices:
            raise CommandFailed(ErrorClass.GENERIC, f"there is a device {id!r} already")
        if driver in DISKS:
            vm.devices[id] = _plug_disk(vm, drive, serial)
            vm.disks[id] = drive
        else:
            vm.devices[id] = vm.machine.plug_nic(network, mac=mac or None)


@MACHINE.command("device_del")
def device_del(
    vm: Managed,
    id: Annotated[str, "the device"],
    force: Annotated[bool, "take it away at once: what is not written yet is lost"] = False,
) -> None:
    """Ask the guest to let go of a device that was plugged in. DEVICE_DELETED tells when it has;
    a guest without a driver for that never does. DeviceNotFound if there is no such device."""
    device = vm.devices.get(id.removeprefix("/machine/peripheral/"), "")
    try:
        with suppress(TimedOut):
            vm.machine.unplug(device, timeout=0, force=force)
    except KeyError as error:
        raise CommandFailed(
            ErrorClass.DEVICE_NOT_FOUND,
            f"there is no device {id[:80]!r}",
            "devices that were plugged in can be unplugged",
            ExitCode.USAGE,
        ) from error


def _plug_disk(vm: Managed, name: str, serial: str) -> str:
    """Plug in a disk of the node of that name; the name of the device."""
    node = vm.nodes.get(name)
    if node is None:
        raise CommandFailed(
            ErrorClass.GENERIC, f"there is no node {name!r}", "tell of it: blockdev-add"
        )
    if name in vm.disks.values():
        raise CommandFailed(ErrorClass.GENERIC, f"the node {name!r} is a disk already")
    format = node.format or "raw"
    return vm.machine.plug_disk(node.path, readonly=node.readonly, serial=serial, format=format)
