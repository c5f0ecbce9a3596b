"""A user network's settings as the command line and the Python interface write them."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from bimetal.backends.net.options import Options, refusal
from bimetal.backends.net.user.network import UserNetwork
from bimetal.backends.net.user.settings import (
    ORDINARY_MTU,
    GuestForward,
    HostForward,
    Settings,
)

__all__ = ["open_user", "parse_settings"]

FORWARD_FORM = "hostfwd=tcp:[ADDRESS]:PORT-[GUEST]:PORT (or udp), like hostfwd=tcp::2222-:22"
SERVICE_FORM = (
    "guestfwd=tcp:ADDRESS:PORT-cmd:COMMAND, -tcp:HOST:PORT or -unix:PATH, "
    "like guestfwd=tcp:10.0.2.100:80-cmd:cat"
)

LOOPBACK = "127.0.0.1"
"""Where a forwarded port is on the host if nobody says otherwise: not for everybody outside."""

MTU_LEAST, MTU_MOST = 1280, 65520
"""The least that IPv6 works with, and the most that virtio's drivers take."""

GATEWAY, DNS, GUEST = 2, 3, 15
"""The numbers of the gateway, the DNS server and the first guest in any network, as QEMU's."""

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_ADDRESS = r"(?:\[([^\]]*)\]|([^:\[\]]*))"
_FORWARD = re.compile(rf"(tcp|udp|):{_ADDRESS}:(\d+)-{_ADDRESS}:(\d+)")
_SERVICE = re.compile(r"(?:tcp|):([^:]*):(\d+)-(cmd|tcp|unix):(.+)")


def open_user(options: Options) -> UserNetwork:
    """The user network that ``options`` describe. Raises `BimetalError`."""
    return UserNetwork(parse_settings(options))


def parse_settings(options: Options) -> Settings:
    """The settings that ``options`` describe. Raises `BimetalError`."""
    network = _network(options.text("net") or "10.0.2.0/24")
    network6 = _network6(options.text("ipv6-net") or "fec0::/64")
    first, first6 = network.network_address, network6.network_address
    ipv6 = options.switch("ipv6")
    settings = Settings(
        network=network,
        gateway=_ip4(options.text("host") or str(first + GATEWAY)),
        dns=_ip4(options.text("dns") or str(first + DNS)),
        guest=_ip4(options.text("dhcpstart") or str(first + GUEST)),
        ipv6=True if ipv6 is None else ipv6,
        network6=network6,
        gateway6=first6 + GATEWAY,
        dns6=first6 + DNS,
        hostname=_name(options.text("hostname"), "hostname"),
        domain=_name(options.text("domainname"), "domainname"),
        search=tuple(_name(each, "dnssearch") for each in options.every("dnssearch")),
        restricted=bool(options.switch("restrict")),
        mtu=options.number("mtu", MTU_LEAST, MTU_MOST) or ORDINARY_MTU,
        forwards=tuple(_forward(each) for each in options.every("hostfwd")),
        services=tuple(_service(each) for each in options.every("guestfwd")),
    )
    options.finish()
    _check(settings)
    return settings


def _network(text: str) -> IPv4Network:
    form = "write its first address and the number of its leading bits, like net=10.0.2.0/24"
    if "/" not in text:
        raise refusal(f"net={text} does not say how large the network is", form)
    try:
        network = IPv4Network(text, strict=False)
    except ValueError:
        raise refusal(f"net={text} is no network", form) from None
    if not 8 <= network.prefixlen <= 27:
        raise refusal(f"net={text} is too small or too large", "choose one from /8 to /27")
    return network


def _network6(text: str) -> IPv6Network:
    try:
        network = IPv6Network(text, strict=False)
    except ValueError:
        network = IPv6Network("::/0")
    if network.prefixlen != 64 or network.is_multicast or network.is_link_local:
        raise refusal(
            f"ipv6-net={text} is no network in which guests can choose addresses",
            "write a prefix of 64 bits, like ipv6-net=fec0::/64",
        )
    return network


def _ip4(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except AddressValueError:
        raise refusal(f"{text!r} is no address", "write one like 10.0.2.2") from None


def _ip(text: str) -> IPv4Address | IPv6Address:
    try:
        return IPv6Address(text) if ":" in text else IPv4Address(text)
    except AddressValueError:
        raise refusal(f"{text!r} is no address", "write one like 10.0.2.15 or [fec0::15]") from None


def _name(text: str | None, option: str) -> str:
    if text is None:
        return ""
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise refusal(f"{option}={text} is no name", "use letters, digits, hyphens and dots")
    return text


def _port(text: str, least: int = 1) -> int:
    if not text.isdecimal() or len(text) > 5 or not least <= int(text) <= 0xFFFF:
        raise refusal(f"{text!r} is no port", f"choose one from {least} to 65535")
    return int(text)


def _forward(text: str) -> HostForward:
    found = _FORWARD.fullmatch(text)
    if found is None:
        raise refusal(f"hostfwd={text} is not understood", f"write {FORWARD_FORM}")
    protocol, host6, host4, port, guest6, guest4, guest_port = found.groups()
    host, guest = host6 or host4, guest6 or guest4
    return HostForward(
        "udp" if protocol == "udp" else "tcp",
        str(_ip(host)) if host else LOOPBACK,
        _port(port, 0),
        _ip(guest) if guest else None,
        _port(guest_port),
    )


def _service(text: str) -> GuestForward:
    found = _SERVICE.fullmatch(text)
    if found is None:
        raise refusal(f"guestfwd={text} is not understood", f"write {SERVICE_FORM}")
    address, port, word, target = found.groups()
    kind: Literal["cmd", "tcp", "unix"] = (
        "cmd" if word == "cmd" else "tcp" if word == "tcp" else "unix"
    )
    if kind == "tcp":
        host, _, number = target.rpartition(":")
        target = f"{_ip(host.removeprefix('[').removesuffix(']'))}:{_port(number)}"
    return GuestForward(_ip4(address), _port(port), kind, target)


def _check(settings: Settings) -> None:
    """Raise `BimetalError` for what does not fit together."""
    network, broadcast = settings.network, settings.network.broadcast_address
    places = [("host", settings.gateway), ("dns", settings.dns), ("dhcpstart", settings.guest)]
    for name, address in places + [("guestfwd", each.address) for each in settings.services]:
        if address not in network or address in (network.network_address, broadcast):
            raise refusal(
                f"{name}={address} is no address in the network {network}",
                f"choose one from {network.network_address + 1} to {broadcast - 1}",
            )
    if len({settings.gateway, settings.dns, settings.guest}) < 3:
        raise refusal("two of host=, dns= and dhcpstart= are the same", "choose three addresses")
    if sum(len(name) + 2 for name in settings.search) > 255:
        raise refusal("the names of dnssearch= are too long together", "give fewer")
    if len({(each.address, each.port) for each in settings.services}) < len(settings.services):
        raise refusal("two guestfwd= have the same address and port", "give each its own")
    guests = [(each.guest or settings.guest, each.guest_port) for each in settings.forwards
              if each.protocol == "udp"]  # fmt: skip
    if len(set(guests)) < len(guests):
        raise refusal(
            "two hostfwd=udp lead to the same port of the guest", "forward one port to each"
        )
    if not settings.ipv6 and any(
        each.guest and each.guest.version == 6 for each in settings.forwards
    ):
        raise refusal(
            "hostfwd= leads to an IPv6 address of a network without", "leave ipv6=off out"
        )
