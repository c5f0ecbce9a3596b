"""Which address of the host stands behind one that the guest names, and the other way round."""

from __future__ import annotations

import socket
from ipaddress import IPv6Address

from bimetal.backends.net.user.settings import Settings

__all__ = ["LINK_LOCAL", "Places"]

LINK_LOCAL = IPv6Address("fe80::2").packed
"""The gateway's address on the link, from which its advertisements come."""

_LINK_PREFIX, _MULTICAST6, _UNROUTABLE6 = b"\xfe\x80", 0xFF, 0x00


class Places:
    """The addresses of one network. The gateway stands for the host's own loopback interface."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self.gateway, self.dns = settings.gateway.packed, settings.dns.packed
        self.gateway6, self.dns6 = settings.gateway6.packed, settings.dns6.packed
        network = settings.network
        self._first, self._last = network.network_address.packed, network.broadcast_address.packed
        self._prefix6 = settings.network6.network_address.packed[:8]
        self.services = {(each.address.packed, each.port): each for each in settings.services}
        self.mac = b"\x52\x55" + self.gateway
        """The gateway's Ethernet address, made as QEMU makes it: 52:55 and its IPv4 address."""
        v6 = {self.gateway6, self.dns6, LINK_LOCAL} if settings.ipv6 else set[bytes]()
        self.ours = {self.gateway, self.dns, *(key[0] for key in self.services), *v6}
        """The addresses that answer on the link."""

    def is_local(self, address: bytes) -> bool:
        """Whether ``address`` is one on the link itself."""
        if len(address) == 4:
            return self._first <= address <= self._last
        return address[:8] == self._prefix6 or address[:2] == _LINK_PREFIX

    def may_be_guest(self, address: bytes) -> bool:
        """Whether a packet may come from ``address``."""
        if address in self.ours or not self.is_local(address):
            return False
        return address not in (self._first, self._last)

    def is_group(self, address: bytes) -> bool:
        """Whether ``address`` is that of many: multicast or broadcast."""
        if len(address) == 16:
            return address[0] == _MULTICAST6
        return 224 <= address[0] < 240 or address in (b"\xff" * 4, self._last)

    def is_dns(self, address: bytes) -> bool:
        """Whether ``address`` is the DNS server's."""
        return address == self.dns or address == self.dns6

    def is_gateway(self, address: bytes) -> bool:
        """Whether ``address`` is the gateway's."""
        return address in (self.gateway, self.gateway6, LINK_LOCAL)

    def host_address(self, address: bytes) -> str | None:
        """What a socket of the host is to connect to for ``address``; None if it leads nowhere.

        Addresses that mean the host itself lead nowhere, in whatever form: only the gateway does.
        """
        if self.is_gateway(address):
            return "127.0.0.1" if len(address) == 4 else "::1"
        if address in self.ours or self.is_local(address) or self.is_group(address):
            return None
        if len(address) == 4:
            if address[0] in (0, 127) or address[0] >= 224:
                return None
            return socket.inet_ntop(socket.AF_INET, address)
        if address[0] == _UNROUTABLE6:  # loopback, unspecified, IPv4 in disguise (RFC 4291, 2.5)
            return None
        return socket.inet_ntop(socket.AF_INET6, address)

    def seen_address(self, host: str, version: int) -> bytes:
        """As whom the guest sees the socket address ``host`` of the host's side, in ``version`` 4
        or 6 of IP: the gateway stands for what has no address that would be right in there."""
        gateway = self.gateway if version == 4 else self.gateway6
        if (":" in host) != (version == 6):
            return gateway
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        try:
            address = socket.inet_pton(family, host.partition("%")[0])
        except OSError:
            return gateway
        return gateway if self.host_address(address) is None else address
