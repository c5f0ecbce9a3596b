"""A definition as libvirt's domain XML, such as libvirt accepts (its schema domain.rng)."""

from __future__ import annotations

from lxml import etree

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.definition import Definition, DiskPart, NicPart, SharePart
from bimetal.control.domain_xml.devices import SECURITY, USER
from bimetal.control.domain_xml.own import NAMESPACE
from bimetal.control.domain_xml.parsing import Element, parse
from bimetal.control.domain_xml.screens import write_screen
from bimetal.control.domain_xml.usb import write_port
from bimetal.control.known_boards import board_named

__all__ = ["device_document", "document", "with_run", "write_definition"]


def write_definition(definition: Definition) -> str:
    """The document. Reading it again makes the same definition."""
    root = etree.Element("domain", type="kvm" if definition.accel == "kvm" else "qemu")
    _text(root, "name", definition.name)
    _text(root, "uuid", str(definition.uuid))
    if definition.title:
        _text(root, "title", definition.title)
    _own(root, definition)
    _text(root, "memory", str(-(-definition.memory // 1024)), unit="KiB")
    _text(root, "currentMemory", str(-(-definition.memory // 1024)), unit="KiB")
    _text(root, "vcpu", str(definition.cpus), placement="static")
    _os(root, definition)
    etree.SubElement(root, "clock", offset="utc")
    _text(root, "on_poweroff", "destroy")
    _text(root, "on_reboot", "restart" if definition.reboot else "destroy")
    _text(root, "on_crash", "destroy")
    _devices(etree.SubElement(root, "devices"), definition)
    return document(root)


def device_document(part: DiskPart | NicPart) -> str:
    """The document of a device. Raises `BimetalError` for one that libvirt has no words for."""
    root = etree.Element("devices")
    if isinstance(part, DiskPart):
        _disk(root, part)
    elif part.network == USER:
        _nic(root, part)
    else:
        raise BimetalError(
            f"a definition has no element for a NIC on {part.network[:60]!r}",
            "plug it into the machine while it runs (--live), or add <bimetal:nic> by hand",
            ExitCode.USAGE,
        )
    return document(root[0])


def document(root: Element) -> str:
    """An element as text, in lines."""
    etree.indent(root)
    text: str = etree.tostring(root, encoding="unicode")
    return text + "\n"


def with_run(text: str, number: int, console: str) -> str:
    """A document of a machine that runs: with its id, and where its console is if that is a
    terminal."""
    root = parse(text, "domain")
    root.set("id", str(number))
    devices = root.find("devices")
    for tag in ("serial", "console"):
        line = None if devices is None else devices.find(tag)
        if line is None or line.get("type") != "pty" or not console.startswith("/"):
            continue
        for source in line.findall("source"):
            line.remove(source)
        line.insert(0, etree.Element("source", path=console))
        if tag == "console":
            line.set("tty", console)
    return document(root)


def _text(parent: Element, tag: str, text: str, **attributes: str) -> None:
    etree.SubElement(parent, tag, **attributes).text = text


def _own(root: Element, definition: Definition) -> None:
    """What libvirt has no words for."""
    metadata = etree.SubElement(root, "metadata")
    tag = f"{{{NAMESPACE}}}machine"
    own = etree.SubElement(metadata, tag, nsmap={"bimetal": NAMESPACE})
    own.set("accel", definition.accel)
    own.set("board", definition.board)
    if definition.cpu_model:
        own.set("cpu_model", definition.cpu_model)
    if definition.sandbox != "on":
        own.set("sandbox", definition.sandbox)
    if any(nic.network != USER for nic in definition.nics):
        for nic in definition.nics:
            child = etree.SubElement(own, f"{{{NAMESPACE}}}nic", network=nic.network)
            if nic.mac:
                child.set("mac", nic.mac)


def _os(root: Element, definition: Definition) -> None:
    board = board_named(definition.board)
    os = etree.SubElement(root, "os")
    _text(os, "type", "hvm", arch=board.isa, machine=board.name.rpartition("-")[2])
    if definition.bios:
        _text(os, "loader", definition.bios, type="rom")
    code, *variables = definition.flash or ("",)
    if code:
        _text(os, "loader", code, readonly="yes", type="pflash")
    for path in variables:
        nvram = etree.SubElement(os, "nvram")
        nvram.text = path
        if definition.flash_template:
            nvram.set("template", definition.flash_template)
    for tag in ("kernel", "initrd"):
        path = getattr(definition, tag)
        if path:
            _text(os, tag, path)
    if definition.append:
        _text(os, "cmdline", definition.append)
    if definition.dtb:
        _text(os, "dtb", definition.dtb)
    if not definition.kernel:
        etree.SubElement(os, "boot", dev="hd")


def _devices(devices: Element, definition: Definition) -> None:
    for disk in definition.disks:
        _disk(devices, disk)
    for share in definition.shares:
        _share(devices, share)
    for nic in definition.nics:
        _nic(devices, nic)
    _console(devices, definition.serial)
    for port in definition.ports:
        channel = etree.SubElement(devices, "channel", type="unix")
        source = etree.SubElement(channel, "source", mode="bind")
        if port.path:
            source.set("path", port.path)
        etree.SubElement(channel, "target", type="virtio", name=port.name)
    write_screen(devices, definition)
    if definition.usb:
        etree.SubElement(devices, "controller", type="usb", model="qemu-xhci")
    for socket in definition.hubs:
        write_port(etree.SubElement(devices, "hub", type="usb"), socket)
    etree.SubElement(devices, "memballoon", model="virtio" if definition.balloon else "none")
    rng = etree.SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")


def _disk(devices: Element, disk: DiskPart) -> None:
    block = disk.path.startswith("/dev/")
    kind = "cdrom" if disk.cdrom else "disk"
    element = etree.SubElement(devices, "disk", type="block" if block else "file", device=kind)
    driver = etree.SubElement(element, "driver", name="qemu")
    if disk.format or disk.cdrom:
        driver.set("type", disk.format or "raw")
    if disk.path:
        etree.SubElement(element, "source", {"dev" if block else "file": disk.path})
    store = element
    for path in disk.backing:
        store = etree.SubElement(store, "backingStore", type="file")
        kind = "raw" if path.endswith((".img", ".raw")) else "qcow2"  # the image itself decides
        etree.SubElement(store, "format", type=kind)
        etree.SubElement(store, "source", file=path)
    target = etree.SubElement(element, "target", dev=disk.target, bus=disk.bus)
    if disk.removable:
        target.set("removable", "on")
    if disk.readonly:
        etree.SubElement(element, "readonly")
    if disk.snapshot:
        etree.SubElement(element, "transient")
    if disk.serial:
        _text(element, "serial", disk.serial)
    write_port(element, disk.port)


def _share(devices: Element, share: SharePart) -> None:
    element = etree.SubElement(devices, "filesystem", type="mount")
    for theirs, ours in SECURITY.items():
        if ours == share.security:
            element.set("accessmode", theirs)
    etree.SubElement(element, "source", dir=share.path)
    etree.SubElement(element, "target", dir=share.tag)
    if share.readonly:
        etree.SubElement(element, "readonly")


def _nic(devices: Element, nic: NicPart) -> None:
    element = etree.SubElement(devices, "interface", type=USER)
    if nic.mac:
        etree.SubElement(element, "mac", address=nic.mac)
    etree.SubElement(element, "model", type="virtio")


def _console(devices: Element, serial: str) -> None:
    """The serial port, and libvirt's second name for it."""
    kind, _, where = serial.partition(":")
    if serial == "none":
        return
    for tag in ("serial", "console"):
        element = etree.SubElement(devices, tag, type=kind)
        if kind == "tcp":
            host, _, port = where.rpartition(":")
            etree.SubElement(element, "source", mode="bind", host=host, service=port)
        elif kind == "unix":
            etree.SubElement(element, "source", mode="bind", path=where)
        elif kind == "file":
            etree.SubElement(element, "source", path=where)
        if tag == "serial":
            etree.SubElement(element, "target", port="0")
        else:
            etree.SubElement(element, "target", type="serial", port="0")
