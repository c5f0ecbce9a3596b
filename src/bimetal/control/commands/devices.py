"""Commands that plug devices in and unplug them."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

from bimetal.base.errors import ExitCode
from bimetal.control.commands.registry import MACHINE
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import Managed
from bimetal.machine.expect import TimedOut

__all__ = ["device_add", "device_del", "netdev_add", "netdev_del", "set_link"]

NETWORKS_LIMIT = 1000
"""Networks that a client may tell of; none of them is open before it has its NIC."""

DISKS = ("virtio-blk-pci", "virtio-blk-pci-non-transitional", "usb-storage")
USB_INPUTS = {"usb-kbd": "keyboard", "usb-tablet": "tablet", "usb-mouse": "mouse"}


@MACHINE.command("device_add")
def device_add(
    vm: Managed,
    driver: Annotated[
        Literal[
            "virtio-blk-pci",
            "virtio-blk-pci-non-transitional",
            "virtio-net-pci",
            "virtio-net-pci-non-transitional",
            "usb-hub",
            "usb-storage",
            "usb-kbd",
            "usb-tablet",
            "usb-mouse",
        ],
        "what to plug in",
    ],
    id: Annotated[str, "what to call it"],
    drive: Annotated[str, "of a disk: the node of its image"] = "",
    serial: Annotated[str, "of a disk: its serial number"] = "",
    netdev: Annotated[str, "of a NIC: its network, by the id that netdev_add has given it"] = "",
    network: Annotated[str, "of a NIC: its network, as the command line has it"] = "",
    mac: Annotated[str, "of a NIC: its address"] = "",
    bus: Annotated[str, "the root port behind which it is to be, or the USB bus"] = "",
    addr: Annotated[str, "the slot there, which has to be 0"] = "0",
    write_cache: Annotated[Literal["on", "auto"], "of a disk: what is flushed is safe"] = "auto",
    werror: Annotated[
        Literal["report", "ignore", "stop", "enospc", "auto"],
        "of a disk: what is done if the host fails to write; enospc: stop if there is no room",
    ] = "auto",
    rerror: Annotated[
        Literal["report", "ignore", "stop", "auto"], "of a disk: what is done if it fails to read"
    ] = "auto",
    bootindex: Annotated[int, "accepted: firmware has started already"] = 0,
    port: Annotated[str, "on USB: the socket, as 1, or behind hubs as 1.2"] = "",
    removable: Annotated[bool, "of a disk on USB: it may be another one soon"] = False,
) -> None:
    """Plug in a device, in the slot that is said, or the first one that is free."""
    with vm.lock:
        on_usb = driver.startswith("usb-")
        socket, slot = _socket(vm, bus, port) if on_usb else "", 0
        if not on_usb:
            slot = _slot(vm, bus, addr)
        if id in vm.devices:
            raise CommandFailed(ErrorClass.GENERIC, f"there is a device {id!r} already")
        if driver in USB_INPUTS:
            vm.devices[id] = vm.machine.plug_input(USB_INPUTS[driver], socket=socket)
        elif driver == "usb-hub":
            vm.devices[id] = vm.machine.plug_hub(socket=socket)
        elif driver in DISKS:
            own: dict[str, Any] = {"bus": "usb", "removable": removable} if on_usb else {}
            own["write_errors"] = "enospc" if werror == "auto" else werror
            own["read_errors"] = "report" if rerror == "auto" else rerror
            vm.devices[id] = _plug_disk(vm, drive, serial, socket or slot, **own)
            vm.disks[id] = drive
        else:
            text = _network(vm, netdev, network)
            vm.devices[id] = vm.machine.plug_nic(text, mac=mac or None, slot=slot)
            vm.nics[id] = netdev


@MACHINE.command("netdev_add", kinds="type")
def netdev_add(
    vm: Managed,
    type: Annotated[
        Literal["user", "tap"],
        "what it is: a network that needs no permission, or a device of the host's",
    ],
    id: Annotated[str, "what to call it"],
    hostfwd: Annotated[
        tuple[dict[Literal["str"], str], ...], "ports that lead to the guest: tcp::2222-:22"
    ] = (),
    restrict: Annotated[bool, "whether the guest reaches nothing but its network"] = False,
    fd: Annotated[str, "of a tap device: its descriptor, that getfd has kept or a number"] = "",
    ifname: Annotated[str, "of a tap device: its name"] = "",
    vhost: Annotated[bool, "of a tap device, accepted: frames go through us"] = False,
) -> None:
    """Tell of a network, from which device_add makes a NIC. It is opened then."""
    words = [each["str"] for each in hostfwd if "str" in each]
    if (type == "tap") is not bool(fd or ifname):
        raise CommandFailed(
            ErrorClass.GENERIC, "a tap device has fd or ifname, and nothing else has"
        )
    with vm.lock:
        if id in vm.networks or len(vm.networks) >= NETWORKS_LIMIT:
            raise CommandFailed(
                ErrorClass.GENERIC, f"there is a network {id[:80]!r} already, or too many"
            )
        if any("," in word for word in words):
            raise CommandFailed(ErrorClass.GENERIC, "a word of a network has no comma")
        told = [type, *(f"hostfwd={word}" for word in words), *["restrict=on"] * restrict]
        told += [f"ifname={ifname}"] * bool(ifname)
        if fd:
            told.append(f"fd={vm.handed.take(fd)}")
        vm.networks[id] = ",".join(told)


@MACHINE.command("netdev_del")
def netdev_del(vm: Managed, id: Annotated[str, "the network"]) -> None:
    """Forget a network that no NIC is on."""
    with vm.lock:
        if id not in vm.networks:
            raise CommandFailed(
                ErrorClass.DEVICE_NOT_FOUND, f"there is no network {id[:80]!r}", "netdev_add"
            )
        users = [nic for nic, network in vm.nics.items() if network == id]
        if users:
            raise CommandFailed(
                ErrorClass.GENERIC, f"the network {id!r} is in use by {', '.join(users)}"
            )
        del vm.networks[id]


@MACHINE.command("set_link")
def set_link(
    vm: Managed,
    name: Annotated[str, "the NIC: its id, its network, or its address"],
    up: Annotated[bool, "whether its cable is plugged in"],
) -> None:
    """Pull the cable of a NIC out, or put it in again: the guest is told, and frames are lost
    meanwhile. DeviceNotFound if there is no such NIC."""
    of_network = [id_ for id_, network in vm.nics.items() if network == name]
    id_ = of_network[0] if of_network else name
    try:
        vm.machine.set_link(vm.devices.get(id_, id_).lower(), up)
    except KeyError as error:
        raise CommandFailed(
            ErrorClass.DEVICE_NOT_FOUND,
            f"there is no NIC {name[:80]!r}",
            "look: bimetal-nics",
            ExitCode.USAGE,
        ) from error


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


def _socket(vm: Managed, bus: str, port: str) -> str:
    """The USB socket, "" for any that is free. Raises `CommandFailed`."""
    if bus and vm.devices.get(bus.removesuffix(".0")) != "usb":
        raise CommandFailed(
            ErrorClass.GENERIC,
            f"there is no USB bus {bus[:80]!r}",
            "leave bus away",
            ExitCode.USAGE,
        )
    return port


def _slot(vm: Managed, bus: str, addr: str) -> int:
    """The number of the slot, 0 for any that is free. Raises `CommandFailed`."""
    if not bus:
        return 0
    if bus not in vm.slots:
        raise CommandFailed(
            ErrorClass.GENERIC,
            f"there is no root port {bus[:80]!r}",
            f"choose from {', '.join(vm.slots)}" if vm.slots else "leave bus away",
            ExitCode.USAGE,
        )
    if addr.removeprefix("0x").strip("0.x"):
        raise CommandFailed(
            ErrorClass.GENERIC,
            f"a root port has no slot {addr[:80]!r}",
            "write addr=0",
            ExitCode.USAGE,
        )
    return vm.slots[bus]


def _network(vm: Managed, netdev: str, network: str) -> str:
    """The network of a NIC, as the command line has it. Raises `CommandFailed`."""
    if netdev and network:
        raise CommandFailed(ErrorClass.GENERIC, "netdev and network say the same thing")
    if netdev and netdev not in vm.networks:
        raise CommandFailed(
            ErrorClass.GENERIC, f"there is no network {netdev[:80]!r}", "tell of it: netdev_add"
        )
    if netdev in vm.nics.values() and netdev:
        raise CommandFailed(ErrorClass.GENERIC, f"the network {netdev!r} has its NIC already")
    return vm.networks[netdev] if netdev else network or "user"


def _plug_disk(vm: Managed, name: str, serial: str, slot: int | str, **own: Any) -> str:
    """Plug in a disk of the node of that name; the name of the device."""
    node = vm.nodes.get(name)
    if node is None:
        raise CommandFailed(
            ErrorClass.GENERIC, f"there is no node {name!r}", "tell of it: blockdev-add"
        )
    if name in vm.disks.values():
        raise CommandFailed(ErrorClass.GENERIC, f"the node {name!r} is a disk already")
    return vm.machine.plug_disk(
        node.path,
        readonly=node.readonly,
        serial=serial,
        format=node.format or "raw",
        backing_folders=node.backing_folders,
        slot=slot,
        **own,
    )
