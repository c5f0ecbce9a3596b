"""Verbs that look at the NICs of machines, and at the networks that they may be on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.control.machines import Machines
from bimetal.control.verbs.registry import HOST, Domain

__all__ = ["AddressLine", "LinkLine", "NetworkLine", "NicLine"]
__all__ += ["domif_getlink", "domif_setlink", "domifaddr", "domiflist", "net_list"]


@dataclass(frozen=True)
class NicLine:
    """A NIC: what it is called while it runs, or "", its network and what that leads to, its model,
    and its address."""

    name: str
    type: str
    source: str
    model: str
    mac: str


@dataclass(frozen=True)
class LinkLine:
    """A NIC, as it was called, and whether it has a link: "up" or "down"."""

    name: str
    state: str


@dataclass(frozen=True)
class AddressLine:
    """An address of a NIC, with the length of its prefix."""

    name: str
    mac: str
    protocol: str
    address: str


@dataclass(frozen=True)
class NetworkLine:
    """A network that machines may be on."""

    name: str
    state: str = "active"
    autostart: bool = True
    persistent: bool = True


@HOST.command("domiflist", safe=True)
def domiflist(machines: Machines, domain: Domain) -> list[NicLine]:
    """List the NICs of a machine, as it was started, or is defined."""
    known = machines.find(domain)
    definition = machines.definition(known.name)
    nic_from, macs_of = (late(f"bimetal.machine.nics:{each}") for each in ("nic_from", "macs_of"))
    wanted = [nic_from(nic.network, {"mac": nic.mac or None}) for nic in definition.nics]
    there = [nic for nic in wanted if nic is not None]
    macs = macs_of(there, [disk.path for disk in definition.disks])
    return [
        NicLine(
            f"nic{number}" if known.runs else "",
            nic.kind,
            dict(nic.words).get("bridge", ""),
            "virtio",
            mac.hex(":"),
        )
        for number, (nic, mac) in enumerate(zip(there, macs, strict=True))
    ]


Nic = Annotated[str, "the NIC: its address, or its name, such as nic0"]


@HOST.command("domif-setlink")
def domif_setlink(
    machines: Machines,
    domain: Domain,
    interface: Nic,
    state: Annotated[Literal["up", "down"], "whether its cable is plugged in"],
) -> None:
    """Pull the cable of a NIC of a machine that runs out, or put it in again."""
    known = machines.running(domain)
    machines.ask(known.name, "set_link", name=interface, up=state == "up")


@HOST.command("domif-getlink", safe=True)
def domif_getlink(machines: Machines, domain: Domain, interface: Nic) -> LinkLine:
    """Tell whether a NIC of a machine that runs has a link."""
    known = machines.running(domain)
    macs = {each.name: each.mac for each in domiflist(machines, known.name)}
    mac = macs.get(interface, interface).lower()
    for each in machines.ask(known.name, "bimetal-nics"):
        if each["mac"] == mac:
            return LinkLine(interface, "up" if each["link"] else "down")
    raise BimetalError(
        f"Interface (dev: {interface[:80]}) not found.", "look: bimetal domiflist", ExitCode.USAGE
    )


@HOST.command("domifaddr", safe=True)
def domifaddr(
    machines: Machines,
    domain: Domain,
    source: Annotated[Literal["lease"], "what tells: the DHCP of user networks"] = "lease",
) -> list[AddressLine]:
    """List the addresses that user networks have handed out to a machine that runs."""
    known = machines.running(domain)
    names = {each.mac: each.name for each in domiflist(machines, known.name)}
    return [
        AddressLine(names.get(each["mac"], "-"), each["mac"], "ipv4", each["address"])
        for each in machines.ask(known.name, "bimetal-leases")
    ]


@HOST.command("net-list", safe=True)
def net_list(
    machines: Machines, all: Annotated[bool, "accepted: each is there always"] = False
) -> list[NetworkLine]:
    """List the networks that there are: the user network, which each NIC on it has for itself."""
    return [NetworkLine("user")]
