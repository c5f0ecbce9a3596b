"""The devices and objects that an emulator's command line may ask for, by the names of their types.

It says what there is; what becomes of each is said by the files of the families. Clients are told
of these types and of no others (``qom-list-types``), and of these properties alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

__all__ = [
    "ASKED_ALWAYS",
    "DRIVERS",
    "OBJECTS",
    "TRANSLATOR",
    "Driver",
    "properties_of",
    "types_of",
]

TEXT, NUMBER, SWITCH, SIZE = "str", "uint32", "bool", "size"


class Driver(Struct, frozen=True):
    """A type called ``name`` that is a kind of ``parent``, with its properties and their types.
    ``family`` is which of our devices it asks for."""

    name: str
    family: str
    parent: str
    properties: Mapping[str, str] = field(default_factory=dict)
    pci: bool = True


PCI = {"id": TEXT, "bus": TEXT, "addr": TEXT, "multifunction": SWITCH, "romfile": TEXT}
MMIO = {"id": TEXT, "bus": TEXT}
USB = {"id": TEXT, "bus": TEXT, "port": TEXT}
USB_INPUTS = {"usb-kbd": "usb-keyboard", "usb-tablet": "usb-tablet", "usb-mouse": "usb-mouse"}
"""Input devices on USB, and their families."""

VIRTIO: Mapping[str, Mapping[str, str]] = {
    "blk": {
        "drive": TEXT,
        "serial": TEXT,
        "bootindex": NUMBER,
        "write-cache": TEXT,
        "num-queues": NUMBER,
    },
    "net": {"netdev": TEXT, "mac": TEXT, "bootindex": NUMBER, "host_mtu": NUMBER, "mq": SWITCH},
    "scsi": {},
    "serial": {"max_ports": NUMBER},
    "rng": {"rng": TEXT},
    "balloon": {"deflate-on-oom": SWITCH, "free-page-reporting": SWITCH},
    "gpu": {"max_outputs": NUMBER, "xres": NUMBER, "yres": NUMBER},
    "keyboard": {},
    "tablet": {},
    "9p": {"fsdev": TEXT, "mount_tag": TEXT},
}
"""Virtio devices, and the properties that each has besides those of its bus."""

OTHERS = (
    Driver(
        "pcie-root-port",
        "root-port",
        "pcie-root-port-base",
        {**PCI, "port": NUMBER, "chassis": NUMBER, "hotplug": SWITCH},
    ),
    Driver(
        "virtserialport",
        "port",
        "virtio-serial-port",
        {"id": TEXT, "bus": TEXT, "nr": NUMBER, "chardev": TEXT, "name": TEXT},
        pci=False,
    ),
    Driver(
        "virtconsole",
        "console",
        "virtio-serial-port",
        {"id": TEXT, "bus": TEXT, "nr": NUMBER, "chardev": TEXT, "name": TEXT},
        pci=False,
    ),
    Driver(
        "scsi-hd",
        "scsi-disk",
        "scsi-device",
        {"id": TEXT, "bus": TEXT, "drive": TEXT, "serial": TEXT, "bootindex": NUMBER},
        pci=False,
    ),
    Driver(
        "scsi-cd",
        "scsi-cdrom",
        "scsi-device",
        {"id": TEXT, "bus": TEXT, "drive": TEXT, "bootindex": NUMBER},
        pci=False,
    ),
    Driver("ramfb", "ramfb", "sys-bus-device", {"id": TEXT}, pci=False),
    *(
        Driver(name, "usb", "base-xhci", {**PCI, "p2": NUMBER, "p3": NUMBER})
        for name in ("qemu-xhci", "nec-usb-xhci")
    ),
    Driver("usb-hub", "usb-hub", "usb-device", USB, pci=False),
    *(Driver(name, kind, "usb-hid", USB, pci=False) for name, kind in USB_INPUTS.items()),
    Driver(
        "usb-storage",
        "usb-storage",
        "usb-storage-dev",
        {**USB, "drive": TEXT, "serial": TEXT, "bootindex": NUMBER, "removable": SWITCH},
        pci=False,
    ),
)


def _virtio() -> list[Driver]:
    made = []
    for kind, own in VIRTIO.items():
        parent = f"virtio-{kind}-pci-base"
        for suffix in ("pci", "pci-non-transitional"):
            made.append(Driver(f"virtio-{kind}-{suffix}", kind, parent, {**PCI, **own}))
        made.append(Driver(f"virtio-{kind}-device", kind, "virtio-device", {**MMIO, **own}, False))
    return made


DRIVERS: Mapping[str, Driver] = {each.name: each for each in (*_virtio(), *OTHERS)}
"""The devices that ``-device`` takes, by name; the host bridge is there without."""

OBJECTS: Mapping[str, Mapping[str, str]] = {
    "memory-backend-ram": {"size": SIZE, "share": SWITCH, "prealloc": SWITCH},
    "memory-backend-memfd": {"size": SIZE, "share": SWITCH, "prealloc": SWITCH},
    "rng-random": {"filename": TEXT},
    "rng-builtin": {},
    "secret": {"data": TEXT, "file": TEXT, "format": TEXT, "keyid": TEXT, "iv": TEXT},
}
"""The objects that ``-object`` takes, by type, with their properties."""

ASKED_ALWAYS: Mapping[str, Mapping[str, str]] = {
    "memory-backend-file": {"size": SIZE},
    "none-machine": {"type": "string"},
    "generic-pc-machine": {"type": "string"},
}
"""Types of which libvirt wants properties whether they are there or not: it gives the emulator up
without them (seen with libvirt 9.0 and 11.3)."""

TRANSLATOR = "tcg-accel"
"""What others call a translating accelerator: without it libvirt offers machines by KVM alone."""


def types_of(pci: bool) -> dict[str, str]:
    """All types by name, with what each is a kind of, of machines with or without PCI."""
    found = {each.name: each.parent for each in DRIVERS.values() if pci or not each.pci}
    return found | dict.fromkeys(OBJECTS, "object")


def properties_of(name: str) -> Mapping[str, str] | None:
    """The properties of a type, with their types; None if there is no such type."""
    if name in DRIVERS:
        return DRIVERS[name].properties
    return OBJECTS.get(name, ASKED_ALWAYS.get(name))
