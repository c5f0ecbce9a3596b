"""Documents of definitions, changed in one place: what else they say stays as it was written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.domain_xml.parsing import Element, parse
from bimetal.control.domain_xml.writing import document

__all__ = [
    "copied",
    "named",
    "with_cpus",
    "with_device",
    "with_macs",
    "with_source",
    "without_device",
]

Address = tuple[str, str, str]
"""A tag of a device, the path of an element in it with an attribute, and its value."""


def named(text: str, name: str) -> str:
    """The document of a machine that is called ``name``."""
    root = parse(text, "domain")
    root.find("name").text = name
    return document(root)


def copied(text: str, name: str, uuid: str, macs: list[str], disks: dict[str, str]) -> str:
    """The document of a copy: with its own ``name``, ``uuid`` and addresses of NICs, and with
    ``disks`` in place of those whose paths are the keys."""
    root = parse(named(text, name), "domain")
    _only(root, "uuid").text = uuid
    for nic, mac in zip(root.findall("devices/interface"), macs, strict=True):
        _only(nic, "mac").set("address", mac)
    for source in root.iterfind("devices/disk/source"):
        for attribute, value in source.attrib.items():
            if value in disks:
                source.set(attribute, disks[value])
    for nvram in root.iterfind("os/nvram"):
        nvram.text = disks.get(nvram.text, nvram.text)
    return document(root)


def with_cpus(text: str, count: int, *, maximum: bool) -> str:
    """The document with so many CPUs: all of them, or, of the ``maximum``, those that are there."""
    root = parse(text, "domain")
    cpus = _only(root, "vcpu")
    most = int(cpus.text or 1)
    if not maximum and count > most:
        raise BimetalError(
            f"invalid argument: requested vcpus is greater than max allowable vcpus for the "
            f"persistent domain: {count} > {most}",
            "raise that first: --maximum",
            ExitCode.USAGE,
        )
    if maximum:
        cpus.text = str(count)
        if int(cpus.get("current", 0)) > count:
            del cpus.attrib["current"]
    elif count == most:
        cpus.attrib.pop("current", None)
    else:
        cpus.set("current", str(count))
    return document(root)


def with_source(text: str, target: str, path: str, kind: str, below: Sequence[str] = ()) -> str:
    """The document with another image, of a format, in the disk that is called ``target``; those
    that it lies on, and that may lie elsewhere, are at the paths ``below``."""
    root = parse(text, "domain")
    for disk in root.findall("devices/disk"):
        found = disk.find("target")
        if found is not None and found.get("dev") == target:
            for attribute in disk.find("source").attrib:
                disk.find("source").set(attribute, path)
            _only(disk, "driver").set("type", kind)
            for store in disk.findall("backingStore"):
                disk.remove(store)
            at = disk
            for each in below:
                store = at.makeelement("backingStore", type="file")
                store.append(store.makeelement("source", file=each))
                at.append(store)
                at = store
    return document(root)


def with_macs(text: str, macs: Sequence[str]) -> str:
    """The document with these addresses of its NICs, in their order, where it says none."""
    root = parse(text, "domain")
    for nic, mac in zip(root.findall("devices/interface"), macs, strict=True):
        if mac and nic.find("mac") is None:
            _only(nic, "mac").set("address", mac)
    return document(root)


def with_device(text: str, device: str) -> str:
    """The document with one more device, whose document is ``device``."""
    root = parse(text, "domain")
    found = root.find("devices")
    if found is None:
        found = root.makeelement("devices")
        root.append(found)
    found.append(parse(device, _tag_of(device)))
    return document(root)


def without_device(text: str, tag: str, inside: str, attribute: str, value: str) -> str:
    """The document without the device that has an element ``inside`` it with that attribute. Raises
    `BimetalError` if there is none."""
    root = parse(text, "domain")
    for device in root.findall(f"devices/{tag}"):
        for element in device.findall(inside):
            if str(element.get(attribute, "")).lower() == value.lower():
                device.getparent().remove(device)
                return document(root)
    raise BimetalError(
        f"device not found: no {tag} with {attribute} {value[:60]!r}",
        "look: bimetal dumpxml",
        ExitCode.USAGE,
    )


def _tag_of(device: str) -> str:
    """The tag of a document's root."""
    words = device.lstrip().removeprefix("<").replace("/", " ").replace(">", " ").split(None, 1)
    return words[0] if words else ""


def _only(parent: Element, tag: str) -> Any:
    """The element of that tag, made if it is not there."""
    found = parent.find(tag)
    if found is None:
        found = parent.makeelement(tag)
        parent.insert(1, found)
    return found
