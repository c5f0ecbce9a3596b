"""What the cables of NICs lead to, in a machine and in copies of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from bimetal.backends.net.address import parse_address
from bimetal.backends.net.capture import Capture
from bimetal.backends.net.choose import open_network
from bimetal.backends.net.dgram import is_group
from bimetal.backends.net.offload import SoftwareOffload
from bimetal.backends.net.protocol import Leasing, NetBackend
from bimetal.backends.reactor import Reactor
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.forwarded import Forwarded
from bimetal.base.near import choose_from
from bimetal.devices.traffic import Traffic
from bimetal.devices.virtio.net import VirtioNet
from bimetal.machine.hardware import Hardware
from bimetal.machine.nics import USER_NETWORK, Nic, macs_of

__all__ = ["DETACHED", "Copying", "forwards_of", "leases_of", "links_of", "new_mac"]
__all__ += ["nic_named", "open_nic", "readdress", "traffic_of"]

DETACHED, FORKED = NETWORKS = ("detached", "forked")
"""What NICs of a copy have: a cable that leads nowhere, or a network of the copy's own."""

LOCAL = 0x52
"""The first byte of addresses that belong to nobody: individual and locally administered (IEEE
802), as those of other NICs here."""

_HOST_PORT = re.compile(r"^((?:tcp|udp)?:(?:\[[^\]]*\]|[^:\[\]]*)):\d+-")
"""The beginning of ``hostfwd=``, to the port of the host."""


def open_nic(nic: Nic, number: int) -> NetBackend:
    """What the cable of NIC ``number`` leads to. Raises `BimetalError` if that cannot be had."""
    network: NetBackend = nic.backend or open_network(nic.kind, nic.words)
    network = SoftwareOffload(network)
    if nic.capture:
        try:
            network = Capture(network, nic.capture, f"nic{number}")
        except BimetalError:
            network.close()
            raise
    return network


class Copying(Struct, frozen=True):
    """What becomes of the NICs of a machine in copies of it: their ``networks``, one of `NETWORKS`,
    and whether they have ``new_macs``."""

    networks: str = DETACHED
    new_macs: bool = False

    def check(self, hardware: Hardware) -> None:
        """Raise `BimetalError` if copies of a machine cannot have that."""
        if self.networks not in NETWORKS:
            raise BimetalError(
                f"forks cannot have networks that are {self.networks!r}",
                choose_from(self.networks, NETWORKS),
                ExitCode.USAGE,
            )
        for _, mac, nic in _nics_of(hardware) if self.networks == FORKED else ():
            if _words_of_copy(nic) is None:
                raise BimetalError(
                    f"the NIC {mac.hex(':')} is on the network {nic.kind or 'of this program'}, "
                    "of which no fork can have another one",
                    f"fork with networks={DETACHED!r}, or give it a user network",
                    ExitCode.USAGE,
                )

    def begin(self, hardware: Hardware, reactor: Reactor) -> None:
        """This process is a copy, and its NICs are unplugged: give them what they are to have.
        Raises `BimetalError`."""
        if self.networks == FORKED:
            for number, (device, _, nic) in enumerate(_nics_of(hardware)):
                words = _words_of_copy(nic) or ()
                network = open_nic(replace(nic, words=words, capture=""), number)
                device.plug_in(network)
                network.attach(reactor)
        if self.new_macs:
            readdress(hardware)


def forwards_of(hardware: Hardware) -> list[Forwarded]:
    """The ports of the host that lead to the guest."""
    return [each for device, _, _ in _nics_of(hardware) for each in device.network.forwards]


def leases_of(hardware: Hardware) -> list[tuple[str, str]]:
    """The addresses that networks have handed out, see `Leasing`."""
    found = []
    for device, _, _ in _nics_of(hardware):
        network: object = device.network
        while isinstance(network, SoftwareOffload | Capture):
            network = network.inner
        if isinstance(network, Leasing):
            found += [(mac.hex(":"), address) for mac, address in network.leases()]
    return found


def traffic_of(hardware: Hardware) -> dict[str, Traffic]:
    """What each NIC has received and sent, by its address."""
    return {mac.hex(":"): replace(device.traffic) for device, mac, _ in _nics_of(hardware)}


def links_of(hardware: Hardware) -> dict[str, bool]:
    """Whether each NIC has a link, by its address."""
    return {mac.hex(":"): device.link for device, mac, _ in _nics_of(hardware)}


def nic_named(hardware: Hardware, name: str) -> VirtioNet:
    """The NIC that is called ``nic0`` and so on, if the machine was built with it, by the name of
    its device, or by its address. KeyError if there is none."""
    macs = macs_of(hardware.config.nics, [disk.path for disk in hardware.config.disks])
    known = {f"nic{number}": mac for number, mac in enumerate(macs)}
    for placement in hardware.placements:
        for part in (placement.device, *placement.device.parts()):
            if isinstance(part, VirtioNet):
                known[placement.device.name] = known[part.own_mac.hex(":")] = part.own_mac
    for device, mac, _ in _nics_of(hardware):
        if mac == known.get(name):
            return device
    raise KeyError(f"there is no NIC {name!r}")


def readdress(hardware: Hardware) -> None:
    """Give each NIC another address, which its driver finds when it begins anew."""
    nics = hardware.config.nics
    for device, mac, nic in list(_nics_of(hardware)):
        fresh = new_mac()
        device.readdress(fresh)
        if nic in nics:
            nics[nics.index(nic)] = replace(nic, mac=fresh)
        elif hardware.sockets is not None:
            hardware.sockets.readdress(mac, fresh)


def new_mac() -> bytes:
    """An address that no other NIC has, as far as chance goes: 40 bits of it are random."""
    return bytes((LOCAL,)) + os.urandom(5)


def _nics_of(hardware: Hardware) -> Iterator[tuple[VirtioNet, bytes, Nic]]:
    """The NICs of a machine: the device, its address, and what was asked for."""
    config = hardware.config
    macs = macs_of(config.nics, [disk.path for disk in config.disks])
    wanted = dict(zip(macs, config.nics, strict=True))
    for plugged in hardware.sockets.plugged() if hardware.sockets is not None else ():
        if plugged.nic is not None and plugged.mac is not None:
            wanted[plugged.mac] = plugged.nic
    for placement in hardware.placements:
        for part in (placement.device, *placement.device.parts()):
            if isinstance(part, VirtioNet):
                yield part, part.own_mac, wanted[part.own_mac]


def _words_of_copy(nic: Nic) -> tuple[tuple[str, str], ...] | None:
    """What describes another network like that of ``nic``; None if there cannot be one, because a
    cable has two ends, and a place on the host one owner."""
    match nic.kind:
        case kind if kind == USER_NETWORK:
            return tuple(
                (name, _HOST_PORT.sub(r"\1:0-", value) if name == "hostfwd" else value)
                for name, value in nic.words
            )
        case "socket" if any(name == "mcast" for name, _ in nic.words):
            return nic.words
        case "dgram":
            remotes = [parse_address(value) for name, value in nic.words if name == "remote"]
            return nic.words if any(map(is_group, remotes)) else None
    return None
