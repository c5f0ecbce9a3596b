"""The screen of a definition, from libvirt's domain XML and back: ``<graphics>`` says where viewers
connect, ``<video>`` what draws, ``<input>`` what people type and point with."""

from __future__ import annotations

from typing import Any

from lxml import etree

from bimetal.base.late import late
from bimetal.control.definition import AT_PORT, AUTO, ON_BUS, Definition, ScreenPart
from bimetal.control.domain_xml.parsing import Element, Notes, attribute, choice, number, refused
from bimetal.control.domain_xml.usb import USB, usb_port, write_port

__all__ = ["SCREENS", "read_screen", "write_screen"]

SCREENS = ("graphics", "video", "input")
"""Elements that are read here."""

DEVICES, INPUTS = ("virtio", "ramfb"), ("keyboard", "tablet", "mouse")
LOCAL, VNC, NONE = "127.0.0.1", "vnc", "none"
PORTS_LIMIT = 1 << 16

NOTED = ("keymap", "passwdValidTo", "powerControl", "sharePolicy", "websocket")
"""Attributes of ``<graphics>`` that have no effect."""


def read_screen(devices: Element, notes: Notes) -> dict[str, Any]:
    """What ``<devices>`` says of the screen: values of a definition. Raises `BimetalError`."""
    shown, drawn = devices.findall("graphics"), devices.findall("video")
    for more in (shown[1:], drawn[1:]):
        for element in more:
            notes.add(element, "there is one screen")
    values = dict[str, Any](vnc="")
    for element in shown[:1]:
        values.update(_graphics(element, notes))
    for element in drawn[:1]:
        values.update(_video(element, notes))
    there = bool(shown or drawn) and values.get("device") != NONE
    inputs = [_input(element, notes) for element in devices.findall("input")]
    return {
        "screen": ScreenPart(**values) if there else None,
        "inputs": tuple(dict.fromkeys(filter(None, inputs))),
    }


def _graphics(element: Element, notes: Notes) -> dict[str, str]:
    """Where viewers connect, and the password that they have to know."""
    if attribute(element, "type") != VNC:
        notes.add(element, "viewers come by VNC")
        return {}
    for name in NOTED:
        if name in element.attrib:
            notes.add(element, f"{name}= means nothing here")
    listen = element.find("listen")
    kind = "address" if listen is None else choice(listen, "type", ("address", "socket", "none"))
    password = {"password": str(element.get("passwd", ""))}
    if kind == NONE:
        return password
    path = element.get("socket") or (listen.get("socket") if kind == "socket" else None)
    if kind == "socket" or path:
        return {**password, "vnc": f"unix:{path}" if path else ""}
    address = element.get("listen") or (listen is not None and listen.get("address")) or LOCAL
    port = str(element.get("port", "-1"))
    if port == "-1" or element.get("autoport") == "yes":
        if address != LOCAL:
            raise refused(element, "a port for others is not chosen here", "write port='5901'")
        return {**password, "vnc": AUTO}
    if number(element, port) >= PORTS_LIMIT:
        raise refused(element, f"{port} is no port")
    return {**password, "vnc": f"{address}::{port}"}


def _video(element: Element, notes: Notes) -> dict[str, Any]:
    """What draws, and the size that it prefers."""
    model = element.find("model")
    if model is None:
        return {}
    device = str(model.get("type", DEVICES[0]))
    values = dict[str, Any](device=device)
    if device != NONE and device not in DEVICES:
        notes.add(model, f"{device[:20]!r}: virtio's display device is in its place")
        del values["device"]
    size = model.find("resolution")
    if size is not None:
        values["width"] = number(size, attribute(size, "x"))
        values["height"] = number(size, attribute(size, "y"))
    return values


def _input(element: Element, notes: Notes) -> str:
    """What people type or point with."""
    kind = attribute(element, "type")
    if kind not in INPUTS:
        notes.add(element, f"{kind[:20]!r}: there are keyboards, tablets and mice")
        return ""
    bus = element.get("bus", "usb" if kind == "mouse" else "virtio")
    if bus == USB:
        port = usb_port(element)
        return f"{kind}{ON_BUS}{bus}" + f"{AT_PORT}{port}" * bool(port)
    if bus != "virtio" or kind == "mouse":
        notes.add(element, "input devices are virtio's, or on USB; a mouse is on USB")
        return "" if kind == "mouse" else kind
    return kind


def write_screen(devices: Element, definition: Definition) -> None:
    """Add the elements of a screen and of input devices. Raises `BimetalError` for a place where no
    viewer can connect."""
    for each in definition.inputs:
        kind, _, where = each.partition(ON_BUS)
        bus, _, port = where.partition(AT_PORT)
        write_port(etree.SubElement(devices, "input", type=kind, bus=bus or "virtio"), port)
    screen = definition.screen
    if screen is None:
        return
    graphics = etree.SubElement(devices, "graphics", type=VNC)
    if screen.vnc == AUTO:
        graphics.set("port", "-1")
        graphics.set("autoport", "yes")
    elif screen.vnc:
        where = late("bimetal.machine.vnc:vnc_place")(screen.vnc)
        if isinstance(where, str):
            etree.SubElement(graphics, "listen", type="socket", socket=where)
        else:
            graphics.set("port", str(where[1]))
            graphics.set("listen", where[0] or LOCAL)
    else:
        etree.SubElement(graphics, "listen", type=NONE)
    if screen.password:
        graphics.set("passwd", screen.password)
    video = etree.SubElement(devices, "video")
    model = etree.SubElement(video, "model", type=screen.device, heads="1", primary="yes")
    etree.SubElement(model, "resolution", x=str(screen.width), y=str(screen.height))
