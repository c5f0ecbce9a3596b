"""Verbs that plug devices into machines and out of them: into one that runs, until its end, or into
the definition, from the next start on."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.control.definition import DiskPart, NicPart
from bimetal.control.known import Known
from bimetal.control.machines import Machines
from bimetal.control.verbs.documents import read_document
from bimetal.control.verbs.registry import HOST, Document, Domain

if TYPE_CHECKING:
    from bimetal.control.conversation import Conversation

__all__ = [
    "attach_device",
    "attach_disk",
    "attach_interface",
    "detach_device",
    "detach_disk",
    "detach_interface",
]

LET_GO_SECONDS = 30.0
"""Seconds for a guest to let go of a device: Linux waits five before it begins."""

Live = Annotated[bool, "into the machine that runs; so it is for one that does"]
Config = Annotated[bool, "into its definition, from its next start on"]
Persistent = Annotated[bool, "both"]
Target = Annotated[str, "what the disk is called, such as vdb"]


@HOST.command("attach-disk")
def attach_disk(
    machines: Machines,
    domain: Domain,
    source: Annotated[str, "the path of the image"],
    target: Target,
    subdriver: Annotated[str, "the format of the image"] = "raw",
    mode: Annotated[Literal["", "readonly"], "whether the guest is not to write"] = "",
    serial: Annotated[str, "a serial number, by which the guest may know it"] = "",
    live: Live = False,
    config: Config = False,
    persistent: Persistent = False,
) -> str:
    """Give a machine another disk; its target."""
    path, readonly = os.path.abspath(source), mode == "readonly"
    part = DiskPart(path, target, subdriver, readonly=readonly, serial=serial)
    _attach(machines, domain, part, live or persistent, config or persistent)
    return target


@HOST.command("attach-interface")
def attach_interface(
    machines: Machines,
    domain: Domain,
    type: Annotated[str, "the network: user, tap, bridge, stream, dgram, passt"],
    source: Annotated[str, "more words of it, or the name of a bridge"] = "",
    mac: Annotated[str, "the address; otherwise a new one"] = "",
    model: Annotated[str, "accepted if it is virtio: there is no other"] = "virtio",
    live: Live = False,
    config: Config = False,
    persistent: Persistent = False,
) -> str:
    """Give a machine another NIC; its address."""
    if not model.startswith("virtio"):
        raise BimetalError(f"there is no NIC {model[:40]!r}", "NICs are virtio's", ExitCode.USAGE)
    mac = mac or str(late("bimetal.machine.cables:new_mac")().hex(":"))
    part = NicPart(_network(type, source), mac)
    late("bimetal.machine.nics:nic_from")(part.network, {"mac": mac})  # whose words it checks
    _attach(machines, domain, part, live or persistent, config or persistent)
    return mac


@HOST.command("attach-device")
def attach_device(
    machines: Machines,
    domain: Domain,
    file: Document,
    live: Live = False,
    config: Config = False,
    persistent: Persistent = False,
) -> str:
    """Give a machine the disk or NIC of which a file has the XML."""
    part = _part_in(file)
    _attach(machines, domain, part, live or persistent, config or persistent)
    return _id_of(part)


@HOST.command("detach-disk")
def detach_disk(
    machines: Machines,
    domain: Domain,
    target: Target,
    live: Live = False,
    config: Config = False,
    persistent: Persistent = False,
) -> str:
    """Take a disk out of a machine: the guest is asked to let go of it; its target."""
    part = DiskPart("-", target)
    _detach(machines, domain, part, live or persistent, config or persistent)
    return target


@HOST.command("detach-interface")
def detach_interface(
    machines: Machines,
    domain: Domain,
    type: Annotated[str, "the network, as for attach-interface"],
    mac: Annotated[str, "the address of the NIC"] = "",
    live: Live = False,
    config: Config = False,
    persistent: Persistent = False,
) -> str:
    """Take a NIC out of a machine: the guest is asked to let go of it; its address."""
    if not mac:
        raise BimetalError(
            "nothing says which interface", "Please specify which one: --mac", ExitCode.USAGE
        )
    part = NicPart(_network(type, ""), mac)
    _detach(machines, domain, part, live or persistent, config or persistent)
    return mac


@HOST.command("detach-device")
def detach_device(
    machines: Machines,
    domain: Domain,
    file: Document,
    live: Live = False,
    config: Config = False,
    persistent: Persistent = False,
) -> str:
    """Take the disk or NIC out of a machine of which a file has the XML."""
    part = _part_in(file)
    _detach(machines, domain, part, live or persistent, config or persistent)
    return _id_of(part)


Part = DiskPart | NicPart


def _attach(machines: Machines, domain: str, part: Part, live: bool, config: bool) -> None:
    known = machines.find(domain)
    definition = machines.definition(known.name, inactive=config)
    if isinstance(part, DiskPart) and any(part.target == disk.target for disk in definition.disks):
        raise BimetalError(f"target {part.target} already exists", "choose another", ExitCode.USAGE)
    text = late("bimetal.control.domain_xml.writing:device_document")(part)
    with_device = late("bimetal.control.domain_xml.altering:with_device")
    _both(
        machines,
        known,
        live,
        config,
        lambda talk: _plug(machines, known, talk, part),
        lambda document: str(with_device(document, text)),
    )


def _detach(machines: Machines, domain: str, part: Part, live: bool, config: bool) -> None:
    known = machines.find(domain)
    without = late("bimetal.control.domain_xml.altering:without_device")
    where = ("disk", "target", "dev", part.target) if isinstance(part, DiskPart) else (
        "interface", "mac", "address", part.mac
    )  # fmt: skip
    _both(
        machines,
        known,
        live,
        config,
        lambda talk: _unplug(talk, part),
        lambda document: str(without(document, *where)),
    )


def _both(
    machines: Machines,
    known: Known,
    live: bool,
    config: bool,
    act: Callable[[Conversation], None],
    change: Callable[[str], str],
) -> None:
    """Do it to the machine that runs, to its definition, or to both."""
    if live and not known.runs:
        raise BimetalError(
            "Requested operation is not valid: domain is not running",
            f"start it: bimetal start {known.name}",
            ExitCode.UNAVAILABLE,
        )
    live = live or (known.runs and not config)
    if live:
        with machines.conversation(known.name) as talk:
            act(talk)
    if config or not known.runs:
        machines.change(known.name, change)


def _plug(machines: Machines, known: Known, talk: Conversation, part: Part) -> None:
    name = _id_of(part)
    if isinstance(part, NicPart):
        talk.ask("device_add", driver="virtio-net-pci", id=name, network=part.network, mac=part.mac)
        return
    machines.hand_in(known.name, part.path, readonly=part.readonly, format=part.format or "raw")
    file = {"driver": "file", "filename": part.path}
    node = {"node_name": name, "file": file, "read_only": part.readonly}
    talk.ask("blockdev-add", driver=part.format or "raw", **node)
    try:
        talk.ask("device_add", driver="virtio-blk-pci", id=name, drive=name, serial=part.serial)
    except BimetalError:
        talk.ask("blockdev-del", node_name=name)
        raise


def _unplug(talk: Conversation, part: Part) -> None:
    name = _id_of(part)
    talk.ask("device_del", id=name)
    if not talk.wait_for("DEVICE_DELETED", LET_GO_SECONDS, device=name):
        raise BimetalError(
            f"the guest has not let go of {name} in {LET_GO_SECONDS:g} seconds",
            "see whether it has a driver for hot plug (pciehp), and runs",
            ExitCode.UNAVAILABLE,
        )
    if isinstance(part, DiskPart):
        talk.ask("blockdev-del", node_name=name)


def _id_of(part: Part) -> str:
    """What a part is called in a machine into which it is plugged."""
    return part.target if isinstance(part, DiskPart) else f"net-{part.mac.lower()}"


def _network(kind: str, source: str) -> str:
    """The words of a network, for what virsh calls its type and source."""
    match kind:
        case "network":
            return "user"
        case "bridge":
            return f"tap,bridge={source}"
        case "user":
            return "user"
    return f"{kind},{source}" if source else kind


def _part_in(path: str) -> Part:
    """The disk or NIC that a file describes. Raises `BimetalError`."""
    part: Part = late("bimetal.control.domain_xml.devices:read_part")(read_document(path))
    if isinstance(part, NicPart) and not part.mac:
        raise BimetalError("the NIC has no <mac address=.../>", "add one", ExitCode.DATA)
    return part
