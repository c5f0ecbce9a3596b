"""Where devices are on USB, in libvirt's domain XML and back: ``<address type='usb'>``."""

from __future__ import annotations

from lxml import etree

from bimetal.base.errors import BimetalError
from bimetal.base.late import late
from bimetal.control.domain_xml.parsing import Element, attribute, refused

__all__ = ["USB", "usb_port", "write_port"]

USB = "usb"


def usb_port(element: Element) -> str:
    """The port that a device is to be at, "" if any will do: without hubs it makes no difference.
    Raises `BimetalError`."""
    address, devices = element.find("address"), element.getparent()
    if address is None or address.get("type") != USB or "port" not in address.attrib:
        return ""
    port = attribute(address, "port")
    try:
        late("bimetal.machine.usb:socket_of")(port)
    except BimetalError as error:
        raise refused(address, error.cause, "write port='1', or behind hubs port='1.2'") from error
    has_hubs = devices is not None and devices.find("hub") is not None
    return port if has_hubs or "." in port else ""


def write_port(element: Element, port: str) -> None:
    """Say that a device is at that ``port``, if it matters."""
    if port:
        etree.SubElement(element, "address", type=USB, bus="0", port=port)
