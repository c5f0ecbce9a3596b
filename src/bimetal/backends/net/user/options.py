"""A user network's settings as the command line and the Python interface write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from bimetal.backends.net.user.settings import GuestForward, HostForward, Settings
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["OPTIONS", "parse_settings"]

FORWARD_FORM = "hostfwd=tcp:[ADDRESS]:PORT-[GUEST]:PORT (or udp), like hostfwd=tcp::2222-:22"
SERVICE_FORM = (
    "guestfwd=tcp:ADDRESS:PORT-cmd:COMMAND, -tcp:HOST:PORT or -unix:PATH, "
    "like guestfwd=tcp:10.0.2.100:80-cmd:cat"
)

LOOPBACK = "127.0.0.1"
"""Where a forwarded port is on the host if nobody says otherwise: not for everybody outside."""

MTU_LIMITS = 1280, 65520
"""The least that IPv6 works with, and the most that virtio's drivers take."""

_HOSTS = 2, 3, 15
"""The gateway's, the DNS server's and the first guest's numbers in any network, as QEMU's."""

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_ADDRESS = r"(?:\[([^\]]*)\]|([^:\[\]]*))"
_FORWARD = re.compile(rf"(tcp|udp|):{_ADDRESS}:(\d+)-{_ADDRESS}:(\d+)")
_SERVICE = re.compile(r"(?:tcp|):([^:]*):(\d+)-(cmd|tcp|unix):(.+)")


def parse_settings(options: Iterable[tuple[str, str]]) -> Settings:
    """The settings that ``options``, names and values in their order, describe.

    Raises `BimetalError`.
    """
    settings = Settings()
    chosen: set[str] = set()
    for name, value in options:
        if name not in OPTIONS:
            raise _wrong(
                f"a user network has no option {name!r}", f"known are {', '.join(OPTIONS)}"
            )
        if name in chosen and name not in _REPEATED:
            raise _wrong(f"{name}= is given twice", "give it once")
        chosen.add(name)
        settings = OPTIONS[name](settings, value)
    return _completed(settings, chosen)


def _wrong(cause: str, remedy: str) -> BimetalError:
    return BimetalError(cause, remedy, ExitCode.USAGE)


def _network(settings: Settings, value: str) -> Settings:
    form = "write its first address and the number of its leading bits, like net=10.0.2.0/24"
    if "/" not in value:
        raise _wrong(f"net={value} does not say how large the network is", form)
    try:
        network = IPv4Network(value, strict=False)
    except ValueError:
        raise _wrong(f"net={value} is no network", form) from None
    if network.prefixlen > 27 or network.prefixlen < 8:
        raise _wrong(f"net={value} is too small or too large", "choose /8 to /27")
    return replace(settings, network=network)


def _network6(settings: Settings, value: str) -> Settings:
    try:
        network = IPv6Network(value, strict=False)
    except ValueError:
        network = IPv6Network("::/0")
    if network.prefixlen != 64 or network.is_multicast or network.is_link_local:
        raise _wrong(
            f"ipv6-net={value} is no network in which guests can choose addresses",
            "write a prefix of 64 bits, like ipv6-net=fec0::/64",
        )
    return replace(settings, network6=network)


def _address(key: Literal["gateway", "dns", "guest"]) -> Callable[[Settings, str], Settings]:
    def apply(settings: Settings, value: str) -> Settings:
        fields = {key: _ip4(value)}
        return replace(settings, **fields)  # type: ignore[arg-type]

    return apply


def _ip4(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except AddressValueError:
        raise _wrong(f"{text!r} is no address", "write one like 10.0.2.2") from None


def _ip(text: str) -> IPv4Address | IPv6Address:
    try:
        return IPv6Address(text) if ":" in text else IPv4Address(text)
    except AddressValueError:
        raise _wrong(f"{text!r} is no address", "write one like 10.0.2.15 or [fec0::15]") from None


def _name(text: str, option: str) -> str:
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise _wrong(f"{option}={text} is no name", "use letters, digits, hyphens and dots")
    return text


def _switch(option: str, text: str) -> bool:
    if text not in ("on", "off"):
        raise _wrong(f"{option}={text} means nothing", f"write {option}=on or {option}=off")
    return text == "on"


def _hostname(settings: Settings, value: str) -> Settings:
    return replace(settings, hostname=_name(value, "hostname"))


def _domain(settings: Settings, value: str) -> Settings:
    return replace(settings, domain=_name(value, "domainname"))


def _search(settings: Settings, value: str) -> Settings:
    search = settings.search + (_name(value, "dnssearch"),)
    if sum(len(name) + 2 for name in search) > 255:
        raise _wrong("the names of dnssearch= are too long together", "give fewer")
    return replace(settings, search=search)


def _restricted(settings: Settings, value: str) -> Settings:
    return replace(settings, restricted=_switch("restrict", value))


def _ipv6(settings: Settings, value: str) -> Settings:
    return replace(settings, ipv6=_switch("ipv6", value))


def _mtu(settings: Settings, value: str) -> Settings:
    least, most = MTU_LIMITS
    if not value.isdecimal() or not least <= int(value) <= most:
        raise _wrong(f"mtu={value} is out of range", f"choose {least} to {most}")
    return replace(settings, mtu=int(value))


def _port(text: str, least: int = 1) -> int:
    if len(text) > 5 or not least <= int(text) <= 0xFFFF:
        raise _wrong(f"{text} is no port", f"choose {least} to 65535")
    return int(text)


def _hostfwd(settings: Settings, value: str) -> Settings:
    found = _FORWARD.fullmatch(value)
    if found is None:
        raise _wrong(f"hostfwd={value} is not understood", f"write {FORWARD_FORM}")
    protocol, host6, host4, port, guest6, guest4, guest_port = found.groups()
    host, guest = host6 or host4 or "", guest6 or guest4 or ""
    forward = HostForward(
        "udp" if protocol == "udp" else "tcp",
        str(_ip(host)) if host else LOOPBACK,
        _port(port, 0),
        _ip(guest) if guest else None,
        _port(guest_port),
    )
    return replace(settings, forwards=(*settings.forwards, forward))


def _guestfwd(settings: Settings, value: str) -> Settings:
    found = _SERVICE.fullmatch(value)
    if found is None:
        raise _wrong(f"guestfwd={value} is not understood", f"write {SERVICE_FORM}")
    address, port, kind, target = found.groups()
    if kind == "tcp":
        host, _, number = target.rpartition(":")
        if not host or not number.isdecimal():
            raise _wrong(f"guestfwd= leads to tcp:{target}", f"write {SERVICE_FORM}")
        _ip(host.removeprefix("[").removesuffix("]"))
        _port(number)
    service = GuestForward(_ip4(address), _port(port), kind, target)  # type: ignore[arg-type]
    if any(
        (each.address, each.port) == (service.address, service.port) for each in settings.services
    ):
        raise _wrong(
            f"two guestfwd= are at {address}:{port}", "give each an address or port of its own"
        )
    return replace(settings, services=(*settings.services, service))


def _completed(settings: Settings, chosen: set[str]) -> Settings:
    """With what follows from a chosen network, and checked as a whole."""
    network, network6 = settings.network, settings.network6
    gateway, dns, guest = (network.network_address + number for number in _HOSTS)
    settings = replace(
        settings,
        gateway=settings.gateway if "host" in chosen else gateway,
        dns=settings.dns if "dns" in chosen else dns,
        guest=settings.guest if "dhcpstart" in chosen else guest,
        gateway6=network6.network_address + _HOSTS[0],
        dns6=network6.network_address + _HOSTS[1],
    )
    places = {"host": settings.gateway, "dns": settings.dns, "dhcpstart": settings.guest}
    services = [("guestfwd", each.address) for each in settings.services]
    for name, address in [*places.items(), *services]:
        if address not in network or address in (
            network.network_address,
            network.broadcast_address,
        ):
            raise _wrong(
                f"{name}={address} is no address in the network {network}",
                f"choose one from {network.network_address + 1} to {network.broadcast_address - 1}",
            )
    if len({settings.gateway, settings.dns, settings.guest}) < 3:
        raise _wrong("two of host=, dns= and dhcpstart= are the same", "choose three addresses")
    return settings


OPTIONS: dict[str, Callable[[Settings, str], Settings]] = {
    "net": _network,
    "host": _address("gateway"),
    "dns": _address("dns"),
    "dhcpstart": _address("guest"),
    "ipv6": _ipv6,
    "ipv6-net": _network6,
    "hostname": _hostname,
    "domainname": _domain,
    "dnssearch": _search,
    "restrict": _restricted,
    "mtu": _mtu,
    "hostfwd": _hostfwd,
    "guestfwd": _guestfwd,
}
"""What applies each option's value to settings."""

_REPEATED = {"dnssearch", "hostfwd", "guestfwd"}
