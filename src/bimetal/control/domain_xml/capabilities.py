"""What machines there can be here, as libvirt tells it (formatcaps, formatdomaincaps)."""

from __future__ import annotations

import os
import platform

from lxml import etree

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.domain_xml.parsing import Element
from bimetal.control.domain_xml.writing import document
from bimetal.control.known_boards import boards

__all__ = ["capabilities", "domain_capabilities"]

KVM = "/dev/kvm"
TYPES = ("qemu", "kvm")


def capabilities() -> str:
    """The host, and the kinds of guests that it can have."""
    root = etree.Element("capabilities")
    host = etree.SubElement(root, "host")
    cpu = etree.SubElement(host, "cpu")
    _text(cpu, "arch", platform.machine())
    for isa in dict.fromkeys(board.isa for board in boards()):
        guest = etree.SubElement(root, "guest")
        _text(guest, "os_type", "hvm")
        arch = etree.SubElement(guest, "arch", name=isa)
        _text(arch, "wordsize", "64")
        for board in boards():
            if board.isa == isa:
                _text(arch, "machine", _short(board.name), maxCpus=str(board.max_cpus))
        for kind in TYPES[: 1 + _has_kvm(isa)]:
            etree.SubElement(arch, "domain", type=kind)
    return document(root)


def domain_capabilities(arch: str, machine: str, virttype: str) -> str:
    """What machines of a kind can have. Raises `BimetalError` if there are none of that kind."""
    fitting = [
        board
        for board in boards()
        if arch in ("", board.isa) and machine in ("", board.name, _short(board.name))
    ]
    if not fitting or (virttype == "kvm" and not _has_kvm(fitting[0].isa)):
        raise BimetalError(
            f"invalid argument: there is no {virttype} machine {arch[:40]} {machine[:40]}".rstrip(),
            "look: bimetal capabilities",
            ExitCode.USAGE,
        )
    board = fitting[0]
    root = etree.Element("domainCapabilities")
    _text(root, "domain", virttype)
    _text(root, "machine", _short(board.name))
    _text(root, "arch", board.isa)
    etree.SubElement(root, "vcpu", max=str(board.max_cpus))
    os_ = etree.SubElement(root, "os", supported="yes")
    loader = etree.SubElement(os_, "loader", supported="yes")
    _enum(loader, "type", ("rom", "pflash"))
    devices = etree.SubElement(root, "devices")
    disk = etree.SubElement(devices, "disk", supported="yes")
    _enum(disk, "diskDevice", ("disk", "cdrom"))
    _enum(disk, "bus", ("virtio", "scsi"))
    return document(root)


def _short(name: str) -> str:
    """What libvirt calls a board of ours."""
    return name.rpartition("-")[2]


def _has_kvm(isa: str) -> bool:
    return isa == platform.machine() and os.access(KVM, os.R_OK | os.W_OK)


def _enum(parent: Element, name: str, values: tuple[str, ...]) -> None:
    element = etree.SubElement(parent, "enum", name=name)
    for value in values:
        _text(element, "value", value)


def _text(parent: Element, tag: str, text: str, **attributes: str) -> None:
    etree.SubElement(parent, tag, **attributes).text = text
