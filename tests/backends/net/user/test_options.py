"""What one may write behind ``user,``."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from bimetal.backends.net.options import Options
from bimetal.backends.net.user.options import parse_settings
from bimetal.backends.net.user.settings import GuestForward, HostForward, Settings
from bimetal.base.errors import BimetalError, ExitCode


def settings_of(*words: tuple[str, str]) -> Settings:
    return parse_settings(Options("user", words))


def test_without_any_words_all_is_as_with_qemu() -> None:
    assert settings_of() == Settings()
    assert [str(each) for each in (Settings().gateway, Settings().dns, Settings().guest)] == [
        "10.0.2.2",
        "10.0.2.3",
        "10.0.2.15",
    ]


def test_addresses_follow_the_network() -> None:
    settings = settings_of(("net", "192.168.5.77/24"), ("ipv6-net", "fd00:1::/64"))
    assert str(settings.gateway) == "192.168.5.2"
    assert str(settings.dns) == "192.168.5.3"
    assert str(settings.guest) == "192.168.5.15"
    assert settings.dns6 == IPv6Address("fd00:1::3")


@pytest.mark.parametrize(
    ("text", "forward"),
    [
        ("tcp::2222-:22", HostForward("tcp", "127.0.0.1", 2222, None, 22)),
        (":[::1]:80-:8080", HostForward("tcp", "::1", 80, None, 8080)),
        (
            "udp:0.0.0.0:53-10.0.2.16:53",
            HostForward("udp", "0.0.0.0", 53, IPv4Address("10.0.2.16"), 53),
        ),
        (
            "tcp:127.0.0.1:0-[fec0::15]:22",
            HostForward("tcp", "127.0.0.1", 0, IPv6Address("fec0::15"), 22),
        ),
    ],
)
def test_forwarded_ports(text: str, forward: HostForward) -> None:
    assert settings_of(("hostfwd", text)).forwards == (forward,)


@pytest.mark.parametrize(
    ("text", "kind", "target"),
    [
        ("tcp:10.0.2.100:80-cmd:nc -l 80 | tee a:b", "cmd", "nc -l 80 | tee a:b"),
        (":10.0.2.100:80-unix:/run/my-socket", "unix", "/run/my-socket"),
        ("tcp:10.0.2.100:80-tcp:127.0.0.1:99", "tcp", "127.0.0.1:99"),
        ("tcp:10.0.2.100:80-tcp:[::1]:99", "tcp", "::1:99"),
    ],
)
def test_services(text: str, kind: str, target: str) -> None:
    [service] = settings_of(("guestfwd", text)).services
    assert service == GuestForward(IPv4Address("10.0.2.100"), 80, kind, target)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "words",
    [
        [("net", "10.0.2.0")],
        [("net", "10.0.2.0/33")],
        [("net", "10.0.2.0/30")],
        [("net", "fec0::/64")],
        [("ipv6-net", "fec0::/48")],
        [("ipv6-net", "10.0.2.0/24")],
        [("host", "10.0.3.2")],
        [("host", "10.0.2.255")],
        [("host", "here")],
        [("dns", "10.0.2.2")],
        [("dhcpstart", "10.0.2.3")],
        [("hostname", "-x")],
        [("hostname", "a b")],
        [("domainname", "a..b")],
        [("dnssearch", "a" * 64)],
        [("dnssearch", "a" * 60)] * 9,
        [("restrict", "maybe")],
        [("mtu", "100")],
        [("mtu", "x")],
        [("hostfwd", "")],
        [("hostfwd", "tcp:2222-:22")],
        [("hostfwd", "tcp::2222-:99999")],
        [("hostfwd", "tcp::2222-:0")],
        [("hostfwd", "tcp:nowhere:2222-:22")],
        [("hostfwd", "sctp::2222-:22")],
        [("hostfwd", "tcp:[::1:2222-:22")],
        [("hostfwd", "udp::1-:22"), ("hostfwd", "udp::2-10.0.2.15:22")],
        [("hostfwd", "tcp::1-[fec0::15]:22"), ("ipv6", "off")],
        [("guestfwd", "tcp:10.0.2.100:80")],
        [("guestfwd", "tcp:10.0.2.100:80-tty:x")],
        [("guestfwd", "tcp:10.9.2.100:80-cmd:x")],
        [("guestfwd", "tcp:10.0.2.100:80-tcp:99")],
        [("guestfwd", "tcp:10.0.2.100:80-cmd:x")] * 2,
        [("host", "10.0.2.4"), ("host", "10.0.2.5")],
        [("hostfw", "tcp::2222-:22")],
    ],
)
def test_what_cannot_be_is_told(words: list[tuple[str, str]]) -> None:
    with pytest.raises(BimetalError) as caught:
        settings_of(*words)
    assert caught.value.remedy
    assert caught.value.exit_code == ExitCode.USAGE
