"""What a user network is like: its addresses, its names, its doors."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from msgspec import Struct

__all__ = ["GuestForward", "HostForward", "Settings"]

ORDINARY_MTU = 1500

_NETWORK, _NETWORK6 = IPv4Network("10.0.2.0/24"), IPv6Network("fec0::/64")
_GATEWAY, _DNS, _GUEST = (_NETWORK.network_address + number for number in (2, 3, 15))
_GATEWAY6, _DNS6 = (_NETWORK6.network_address + number for number in (2, 3))


class HostForward(Struct, frozen=True):
    """A port of the host that leads to one of the guest. ``guest`` None is the first address that
    the network's DHCP hands out; ``port`` 0 is any free one."""

    protocol: Literal["tcp", "udp"]
    address: str
    port: int
    guest: IPv4Address | IPv6Address | None
    guest_port: int


class GuestForward(Struct, frozen=True):
    """An address and TCP port of the network that lead to something on the host: ``kind`` cmd and
    a shell command, which gets each connection as its input and output; tcp and HOST:PORT; unix
    and a path."""

    address: IPv4Address
    port: int
    kind: Literal["cmd", "tcp", "unix"]
    target: str


class Settings(Struct, frozen=True):
    """All that can be chosen. The defaults are the addresses that QEMU's user network has."""

    network: IPv4Network = _NETWORK
    gateway: IPv4Address = _GATEWAY
    dns: IPv4Address = _DNS
    guest: IPv4Address = _GUEST
    """The first address that DHCP hands out."""

    ipv6: bool = True
    network6: IPv6Network = _NETWORK6
    gateway6: IPv6Address = _GATEWAY6
    dns6: IPv6Address = _DNS6

    hostname: str = ""
    """The guest's name, as DHCP tells it."""
    domain: str = ""
    search: tuple[str, ...] = ()
    """Domains in which the guest's resolver looks for short names."""

    restricted: bool = False
    """Whether nothing but the forwards below leads out of the network."""

    mtu: int = ORDINARY_MTU
    forwards: tuple[HostForward, ...] = ()
    services: tuple[GuestForward, ...] = ()
