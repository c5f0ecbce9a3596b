"""From an order to a machine: its devices, each with what it refers to, in its place."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from bimetal.control.emulator.chars import chardev_place
from bimetal.control.emulator.disks import RERROR, WERROR, read_policy
from bimetal.control.emulator.drivers import USB_INPUTS, Driver
from bimetal.control.emulator.grammar import Words, wrong
from bimetal.control.emulator.order import DriveAt, NicAt, Order
from bimetal.control.emulator.slots import Slots
from bimetal.control.failures import CommandFailed
from bimetal.control.managed import BlockNode, Managed
from bimetal.control.monitor import Monitor
from bimetal.machine.machine import Machine

__all__ = ["furnish"]

NIC = "user"
MOST_PORTS = 31


def furnish(order: Order, monitor: Monitor) -> None:
    """Give the machine of ``monitor``, which is not built, what was ordered. Raises
    `BimetalError`."""
    for values in order.nodes:
        try:
            monitor.execute("blockdev-add", **values)
        except CommandFailed as error:
            remedy = error.remedy or "write it as blockdev-add takes it"
            raise wrong("blockdev", error.cause, remedy) from error
    monitor.vm.held.update(order.held)
    work = _Furnishing(order, monitor.vm)
    for driver, words in sorted(order.devices, key=lambda each: _turn(each[0])):
        work.add(driver, words)
    work.add_others()
    work.build()


class _Furnishing:
    """Adds devices to the machine of ``vm``, as ``order`` says."""

    def __init__(self, order: Order, vm: Managed):
        self._order, self._vm = order, vm
        self._machine: Machine = vm.machine
        self._slots = Slots()
        self._drives = {drive.id: drive for drive in order.drives if drive.interface == "none"}
        self._networks = dict(order.netdevs)
        self._plugs: list[Callable[[], None]] = []
        self._boot: list[int] = []
        self._families: Mapping[str, Callable[[Driver, Words], None]] = {
            "root-port": self._root_port,
            "blk": self._disk,
            "scsi": self._scsi,
            "scsi-disk": self._scsi_disk,
            "scsi-cdrom": self._cdrom,
            "net": self._nic,
            "serial": self._serial,
            "port": self._port,
            "rng": self._rng,
            "balloon": self._balloon,
            "gpu": self._gpu,
            "ramfb": self._ramfb,
            "keyboard": self._input,
            "tablet": self._input,
            "usb": self._usb,
            **dict.fromkeys(USB_INPUTS.values(), self._usb_input),
            "usb-hub": self._usb_hub,
            "usb-storage": self._usb_storage,
            "9p": self._share,
        }

    def add(self, driver: Driver, words: Words) -> None:
        """Add a device that a ``-device`` asks for."""
        words.take("driver")
        make = self._families.get(driver.family)
        if make is None:
            raise wrong(words.option, "it is not there as a device", "write it as another option")
        make(driver, words)
        words.finish()

    def add_others(self) -> None:
        """Add devices that other options ask for, and those that nobody has to ask for."""
        order = self._order
        for drive in order.drives:
            if drive.interface not in ("none", "pflash"):
                self._drive(drive)
        nics = [*order.nics]
        for number, network in enumerate(order.old_networks):
            nics.append(NicAt(network, "".join(order.old_nics[number : number + 1])))
        if order.defaults and order.usual_nic and not self._machine.config.nics and not nics:
            nics.append(NicAt(NIC))
        for nic in nics:
            self._machine.nic(nic.network, mac=nic.mac or None)
        self._usual_usb()
        for tag, folder in order.shares:
            self._machine.share(
                folder.path, tag=tag, readonly=folder.readonly, security=folder.security
            )
        if self._boot != sorted(self._boot):
            raise wrong(
                "device",
                "bootindex: firmware tries devices in their order",
                "write the devices in the order of their indices",
            )

    def build(self) -> None:
        """Build the machine, and plug in what is behind root ports."""
        for plug in self._plugs:
            plug()

    def _known(self, words: Words, name: str) -> None:
        """A client may ask for a device by its id; here it has that ``name``."""
        id_ = words.text("id")
        if id_ in self._vm.devices:
            raise wrong(words.option, f"there are two devices {id_[:80]!r}", "give each its own")
        if id_:
            self._vm.devices[id_] = name

    def _place(self, driver: Driver, words: Words, name: str) -> int:
        """Put a device where it is wanted; the number of the root port that it is behind, or 0."""
        self._known(words, name)
        return self._slots.place(self._machine, driver, words, name)

    def _bootable(self, words: Words) -> None:
        if "bootindex" in words:
            self._boot.append(words.number("bootindex"))

    def _root_port(self, driver: Driver, words: Words) -> None:
        self._vm.slots[words.peek("id")] = self._slots.add_port(self._machine, words)
        words.ignore("port", "chassis")
        words.only("hotplug", "on")
        self._known(words, f"port{self._slots.count}")

    # Disks

    def _image(self, words: Words) -> tuple[str, dict[str, Any]]:
        """The image that a device refers to: its name, and what `Machine.disk` is told of it."""
        name = words.needed("drive")
        snapshot = self._order.snapshot
        if name in self._drives:
            drive = self._drives[name]
            return name, _disk_options(drive, snapshot)
        node = self._vm.nodes.get(name)
        if node is None:
            raise wrong(words.option, f"there is no drive {name[:80]!r}", "say -blockdev or -drive")
        if name in self._vm.disks.values():
            raise wrong(words.option, f"the drive {name[:80]!r} is taken", "use each once")
        return name, {**_node_options(node), "snapshot": snapshot}

    def _disk(self, driver: Driver, words: Words) -> None:
        id_ = words.peek("id")
        name, options = self._image(words)
        options["serial"] = words.text("serial") or options.get("serial", "")
        _read_answers(words, options)
        queues = words.number("num-queues", 1, 1)
        words.only("write-cache", "on", "auto")
        self._bootable(words)
        number = len(self._machine.config.disks)
        port = self._place(driver, words, f"disk{number}")
        if id_:
            self._vm.disks[id_] = name
        path = options.pop("path")
        if not port:
            self._machine.disk(path, queues=queues, **options)
            return
        if queues != 1:
            raise wrong(words.option, "several queues behind a root port", "write num-queues=1")
        plug = partial(self._machine.plug_disk, path, slot=port, **options)
        self._plugs.append(lambda: self._plugged(id_, plug()))

    def _plugged(self, id_: str, name: str) -> None:
        if id_:
            self._vm.devices[id_] = name

    def _drive(self, drive: DriveAt) -> None:
        if drive.cdrom:
            self._machine.cdrom(drive.path or None)
            return
        options = _disk_options(drive, self._order.snapshot)
        bus = "scsi" if drive.interface == "scsi" else "virtio"
        self._machine.disk(options.pop("path"), bus=bus, **options)

    def _scsi(self, driver: Driver, words: Words) -> None:
        self._slots.buses["scsi"] = f"{words.peek('id')}.0"
        self._place(driver, words, "scsi")

    def _scsi_disk(self, driver: Driver, words: Words) -> None:
        self._slots.check_bus("scsi", words)
        _, options = self._image(words)
        options["serial"] = words.text("serial") or options.get("serial", "")
        _read_answers(words, options)
        self._bootable(words)
        self._known(words, f"disk{len(self._machine.config.disks)}")
        self._machine.disk(options.pop("path"), bus="scsi", **options)

    def _cdrom(self, driver: Driver, words: Words) -> None:
        self._slots.check_bus("scsi", words)
        path = self._image(words)[1]["path"] if "drive" in words else None
        self._bootable(words)
        self._known(words, f"cd{len(self._machine.config.cdroms)}")
        self._machine.cdrom(path)

    # Other devices

    def _nic(self, driver: Driver, words: Words) -> None:
        id_ = words.peek("id")
        netdev = words.needed("netdev")
        if netdev not in self._networks:
            raise wrong(
                words.option, f"there is no network {netdev[:80]!r}, or it is taken", "say -netdev"
            )
        network = _with_own_descriptor(self._networks.pop(netdev))
        mac, mtu = words.text("mac"), words.number("host_mtu") or None
        words.only("mq", "off")
        self._bootable(words)
        self._vm.networks[netdev] = network
        port = self._place(driver, words, f"nic{len(self._machine.config.nics)}")
        if id_:
            self._vm.nics[id_] = netdev
        if port:
            told = {} if mtu is None else {"mtu": mtu}
            plug = partial(self._machine.plug_nic, network, mac=mac or None, slot=port, **told)
            self._plugs.append(lambda: self._plugged(id_, plug()))
        else:
            self._machine.nic(network, mac=mac or None, mtu=mtu)

    def _serial(self, driver: Driver, words: Words) -> None:
        self._slots.buses["serial"] = f"{words.peek('id')}.0"
        words.number("max_ports", 31, 1, MOST_PORTS)
        self._place(driver, words, "serial")

    def _port(self, driver: Driver, words: Words) -> None:
        self._slots.check_bus("serial", words)
        chardev, name = words.needed("chardev"), words.needed("name")
        number = len(self._machine.config.ports) + 1
        words.only("nr", str(number))
        place = chardev_place(self._order, words.option, chardev)
        self._known(words, f"serial port {number}")
        self._machine.port(name, place)
        self._vm.lines[chardev] = place

    def _rng(self, driver: Driver, words: Words) -> None:
        source = words.text("rng")
        if source and not self._order.objects.get(source, "").startswith("rng-"):
            raise wrong(words.option, f"there is no source {source[:80]!r}", "say -object rng-...")
        self._place(driver, words, "rng")

    def _balloon(self, driver: Driver, words: Words) -> None:
        words.only("deflate-on-oom", "off")
        words.only("free-page-reporting", "on", "off")
        self._machine.balloon()
        self._place(driver, words, "balloon")

    def _gpu(self, driver: Driver, words: Words) -> None:
        words.only("max_outputs", "1")
        size = {"width": words.number("xres", 1024), "height": words.number("yres", 768)}
        self._machine.video("virtio", **size)
        self._place(driver, words, "gpu")

    def _ramfb(self, driver: Driver, words: Words) -> None:
        self._known(words, "ramfb")
        self._machine.video("ramfb")

    def _input(self, driver: Driver, words: Words) -> None:
        self._machine.input(driver.family)
        self._place(driver, words, driver.family)

    # USB

    def _usb(self, driver: Driver, words: Words) -> None:
        ports = {"usb2": words.number("p2", 4, 1, 15), "usb3": words.number("p3", 4, 0, 15)}
        self._machine.usb(driver.name, **ports)
        self._slots.buses["usb"] = f"{words.peek('id')}.0"
        self._place(driver, words, "usb")

    def _usb_hub(self, driver: Driver, words: Words) -> None:
        self._known(words, f"hub{len(self._machine.config.hubs)}")
        self._machine.usb_hub(socket=self._slots.socket(words))

    def _usb_input(self, driver: Driver, words: Words) -> None:
        kind = driver.family.removeprefix("usb-")
        self._machine.input(kind, bus="usb", socket=self._slots.socket(words))
        self._known(words, kind)

    def _usb_storage(self, driver: Driver, words: Words) -> None:
        socket, drive = self._slots.socket(words), self._drives.get(words.peek("drive"))
        self._bootable(words)
        removable = words.switch("removable")
        words.only("write-cache", "on", "auto")
        if drive is not None and drive.cdrom:
            words.needed("drive")
            self._known(words, f"cd{len(self._machine.config.cdroms)}")
            self._machine.cdrom(drive.path or None, bus="usb", socket=socket)
            return
        id_ = words.peek("id")
        name, options = self._image(words)
        options["serial"] = words.text("serial") or options.get("serial", "")
        self._known(words, f"disk{len(self._machine.config.disks)}")
        if id_:
            self._vm.disks[id_] = name
        path = options.pop("path")
        self._machine.disk(path, bus="usb", socket=socket, removable=removable, **options)

    def _usual_usb(self) -> None:
        """The controller that -usb asks for, and what -usbdevice plugs in."""
        if self._order.usb and self._machine.config.usb is None:
            self._machine.usb()
        for kind in self._order.usb_inputs:
            self._machine.input(kind, bus="usb")

    def _share(self, driver: Driver, words: Words) -> None:
        folder = self._order.folders.get(name := words.needed("fsdev"))
        if folder is None:
            raise wrong(words.option, f"there is no folder {name[:80]!r}", "say -fsdev")
        tag = words.needed("mount_tag")
        self._place(driver, words, f"share{len(self._machine.config.shares)}")
        self._machine.share(
            folder.path, tag=tag, readonly=folder.readonly, security=folder.security
        )


def _turn(driver: Driver) -> int:
    """When a device is added: buses before what is on them."""
    return {"root-port": 0, "usb": 1}.get(driver.family, 2)


def _with_own_descriptor(network: str) -> str:
    """A network whose descriptor is another one for the same: that which we were given stays open
    for a machine that begins anew. Raises `BimetalError`."""
    kind, *words = network.split(",")
    for place, word in enumerate(words):
        name, _, number = word.partition("=")
        if kind == "tap" and name == "fd" and number.isdecimal():
            try:
                words[place] = f"fd={os.dup(int(number[:9]))}"
            except OSError as error:
                raise wrong(
                    "netdev", f"fd={number[:9]}: {error.strerror}", "hand it down to this process"
                ) from error
    return ",".join([kind, *words])


def _disk_options(drive: DriveAt, snapshot: bool) -> dict[str, Any]:
    return {
        "path": drive.path,
        "format": drive.format,
        "readonly": drive.readonly,
        "snapshot": drive.snapshot or snapshot,
        "serial": drive.serial,
        "write_errors": drive.write_errors,
        "read_errors": drive.read_errors,
    }


def _read_answers(words: Words, options: dict[str, Any]) -> None:
    """What is done about errors of the host: the guest is told, but of a lack of room."""
    for word, what in ((WERROR, "write_errors"), (RERROR, "read_errors")):
        if (policy := read_policy(words, word, "auto")) != "auto":
            options[what] = policy


def _node_options(node: BlockNode) -> dict[str, Any]:
    return {
        "path": node.path,
        "format": node.format or "raw",
        "readonly": node.readonly,
        "backing_folders": node.backing_folders,
        "write_errors": "enospc",
    }
