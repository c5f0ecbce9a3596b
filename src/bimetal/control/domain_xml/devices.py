"""The devices of a definition, from libvirt's domain XML."""

from __future__ import annotations

from typing import Any

from bimetal.control.definition import DiskPart, NicPart, PortPart, SharePart
from bimetal.control.domain_xml.parsing import (
    Element,
    Notes,
    attribute,
    choice,
    number,
    parse,
    refused,
    text_of,
    unknown,
)
from bimetal.control.domain_xml.screens import SCREENS, read_screen
from bimetal.control.domain_xml.usb import USB, usb_port

__all__ = ["SECURITY", "USER", "read_devices", "read_part"]

PLACED = frozenset({"alias", "address", "boot", "acpi"})
"""Where a device is on its bus, and what it is called there: elements of any device."""

NOTED = frozenset(
    {
        "audio", "crypto", "iommu", "memory", "panic", "pstore",
        "redirdev", "redirfilter", "shmem", "smartcard", "sound", "vsock", "watchdog",
    }
)  # fmt: skip
"""Devices that are not there, and without which a guest starts."""

ABSENT = {
    "hostdev": "devices of the host are not given to guests",
    "tpm": "there is no TPM",
    "nvram": "there is no such memory",
    "lease": "there are no lock managers",
}
WITHOUT_EFFECT = frozenset({"emulator", "rng"})
READ = (
    "disk",
    "interface",
    "serial",
    "console",
    "channel",
    "filesystem",
    "memballoon",
    "hub",
    *SCREENS,
)

DISK_WITHOUT_EFFECT = frozenset(
    {"blockio", "diskSecret", "geometry", "mirror", "product", "vendor", "wwn"}
)
SECURITY = {"mapped": "mapped-xattr", "passthrough": "passthrough", "squash": "none"}
"""Our words for how owners and modes of a shared folder are kept, by libvirt's."""

USER = "user"
XHCI = ("qemu-xhci", "nec-xhci")
"""USB controllers that are there, in libvirt's words."""
FORWARDS_LIMIT = 100


def read_devices(element: Element, notes: Notes) -> dict[str, Any]:
    """The values of a definition that ``<devices>`` says. Raises `BimetalError`."""
    disks, nics = list[DiskPart](), list[NicPart]()
    shares, ports = list[SharePart](), list[PortPart]()
    values = dict[str, Any]()
    hubs, lines = list[str](), 0
    for child in element:
        match child.tag:
            case "disk":
                disks.append(_disk(child, notes))
            case "interface":
                nics.append(_nic(child, notes))
            case "filesystem":
                shares.append(_share(child))
            case "channel":
                ports += _port(child, notes)
            case "serial" | "console":
                if _is_another(child, lines):
                    lines += 1
                    if lines == 1:
                        values["serial"] = _far_end(child)
                    else:
                        notes.add(child, "there is one serial port")
            case "memballoon":
                values["balloon"] = child.get("model") != "none"
            case "controller":
                if child.get("type") == "usb" and child.get("model") != "none":
                    values["usb"] = True
                    if child.get("model", XHCI[0]) not in XHCI:
                        notes.add(child, "xHCI is in its place")
            case "hub" if child.get("type", USB) == USB:
                hubs.append(usb_port(child))
            case tag if tag in (*NOTED, "hub"):
                notes.add(child, "there is no such device")
            case tag if tag in ABSENT:
                raise refused(child, ABSENT[tag], "leave it away")
            case tag if tag not in (*WITHOUT_EFFECT, *SCREENS):
                raise unknown(child, [*READ, *NOTED, *ABSENT, *WITHOUT_EFFECT])
    return {
        **values,
        **read_screen(element, notes),
        "disks": tuple(disks),
        "nics": tuple(nics),
        "shares": tuple(shares),
        "ports": tuple(ports),
        "usb": bool(values.get("usb") or hubs),
        "hubs": tuple(hubs),
    }


def read_part(document: bytes) -> DiskPart | NicPart:
    """The disk or NIC that a document describes. Raises `BimetalError`."""
    kind = "interface" if document.lstrip().startswith(b"<interface") else "disk"
    element = parse(document, kind)
    return _disk(element, Notes()) if kind == "disk" else _nic(element, Notes())


def _disk(element: Element, notes: Notes) -> DiskPart:
    kind = choice(element, "device", ("disk", "cdrom"), "disk")
    where = {"file": "file", "block": "dev"}[choice(element, "type", ("file", "block"))]
    values = dict[str, Any](path="", target="", cdrom=kind == "cdrom")
    for child in element:
        match child.tag:
            case "driver":
                values["format"] = child.get("type")
            case "source":
                values["path"] = str(child.get(where, ""))
            case "target":
                values["target"] = attribute(child, "dev")
                values["bus"] = _bus(child, values["cdrom"], notes)
                values["removable"] = child.get("removable") == "on" and not values["cdrom"]
            case "backingStore":
                values["backing"] = tuple(
                    str(source.get("file")) for source in child.iter("source") if source.get("file")
                )
            case "readonly":
                values["readonly"] = True
            case "transient":
                values["snapshot"] = True
            case "serial":
                values["serial"] = text_of(child)
            case "iotune" | "shareable":
                notes.add(child)
            case "auth" | "encryption":
                raise refused(child, "images are neither encrypted nor behind passwords here")
            case tag if tag not in DISK_WITHOUT_EFFECT | PLACED:
                raise unknown(child, ("driver", "source", "target", "readonly", "serial"))
    if not values["target"]:
        raise refused(element, "it has no target", "add <target dev='vda' bus='virtio'/>")
    if not values["path"] and not values["cdrom"]:
        raise refused(element, "it has no image", f"add <source {where}='PATH'/>")
    if values["cdrom"]:
        values.update(format=None, readonly=True)
    if values.get("bus") == USB:
        values["port"] = usb_port(element)
    return DiskPart(**values)


def _bus(target: Element, cdrom: bool, notes: Notes) -> str:
    bus = str(target.get("bus", "virtio"))
    if cdrom:
        if bus not in ("scsi", "usb"):
            notes.add(target, "CD-ROM drives are on a SCSI bus, or on USB")
            return "scsi"
        return bus
    return choice(target, "bus", ("virtio", "scsi", "usb"), "virtio")


def _nic(element: Element, notes: Notes) -> NicPart:
    kind, mac, forwards = attribute(element, "type"), "", list[str]()
    for child in element:
        match child.tag:
            case "mac":
                mac = attribute(child, "address")
            case "model":
                if not str(child.get("type", "virtio")).startswith("virtio"):
                    notes.add(child, "NICs are virtio's")
            case "portForward":
                forwards += _forwards(child)
            case "source" | "target" | "driver" | "link" | "mtu" | "backend" | "guest" | "ip":
                pass
            case "bandwidth" | "filterref" | "vlan" | "virtualport" | "coalesce" | "tune":
                notes.add(child)
            case tag if tag not in PLACED:
                raise unknown(child, ("mac", "model", "source", "portForward", "link"))
    if kind != USER:
        notes.add(element, f"type={kind[:20]!r}: a user network is in its place")
    return NicPart(",".join([USER, *forwards]), mac)


def _forwards(element: Element) -> list[str]:
    """Ports of the host that lead to the guest, as words of a user network."""
    protocol = choice(element, "proto", ("tcp", "udp"))
    address = str(element.get("address", ""))
    if "," in address or ":" in address:
        raise refused(element, f"{address[:60]!r} is no IPv4 address")
    words = []
    for each in element.findall("range"):
        if each.get("exclude") == "yes":
            continue
        first = number(each, attribute(each, "start"))
        count = number(each, str(each.get("end", first))) - first + 1
        to = number(each, str(each.get("to", first)))
        if not (first and 0 < count <= FORWARDS_LIMIT and max(first, to) + count <= 0x10000):
            raise refused(each, f"these are no ports, or more than {FORWARDS_LIMIT}")
        words += [f"hostfwd={protocol}:{address}:{first + n}-:{to + n}" for n in range(count)]
    return words


def _share(element: Element) -> SharePart:
    choice(element, "type", ("mount",), "mount")
    source, target = element.find("source"), element.find("target")
    driver = element.find("driver")
    if driver is not None and driver.get("type", "path") != "path":
        raise refused(driver, "folders are shared by 9P", "write <driver type='path'/>")
    if source is None or target is None:
        raise refused(element, "it has no source or no target")
    security = SECURITY[choice(element, "accessmode", SECURITY, "mapped")]
    return SharePart(
        attribute(source, "dir"),
        attribute(target, "dir"),
        element.find("readonly") is not None,
        security if "accessmode" in element.attrib else "",
    )


def _port(element: Element, notes: Notes) -> list[PortPart]:
    target, source = element.find("target"), element.find("source")
    if element.get("type") != "unix" or target is None or target.get("type") != "virtio":
        notes.add(element, "channels are Unix sockets to virtio ports")
        return []
    path = "" if source is None else str(source.get("path", ""))
    return [PortPart(attribute(target, "name"), path)]


def _is_another(element: Element, lines: int) -> bool:
    """Whether it is a line that was not described yet: libvirt names the first serial port a second
    time, as a console."""
    target = element.find("target")
    kind = "serial" if target is None else target.get("type", "serial")
    return not (element.tag == "console" and lines and kind == "serial")


def _far_end(element: Element) -> str:
    """Where a serial line leads, in the words of the command line."""
    source = element.find("source")
    match choice(element, "type", ("pty", "null", "file", "unix", "tcp")):
        case "pty":
            return "pty"
        case "null":
            return "none"
        case "file" if source is not None:
            return f"file:{attribute(source, 'path')}"
        case "unix" if source is not None and source.get("mode") == "bind":
            return f"unix:{attribute(source, 'path')}"
        case "tcp" if source is not None and source.get("mode") == "bind":
            return f"tcp:{source.get('host', '')}:{attribute(source, 'service')}"
    raise refused(element, "clients come to a console", "write <source mode='bind' .../>")
