"""How a guest gets its addresses and names: ARP, DHCP, neighbour discovery, DHCPv6.

Scapy makes and reads the messages.
"""

from __future__ import annotations

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import (
    DUID_LL,
    DHCP6_InfoRequest,
    DHCP6_Reply,
    DHCP6OptClientId,
    DHCP6OptDNSDomains,
    DHCP6OptDNSServers,
    DHCP6OptServerId,
)
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptDNSSL,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptRDNSS,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from bimetal.base.clock import VirtualClock
from tests.backends.net.user.cable import GATEWAY_MAC, GUEST, MAC, Plugged, checked, plugged

EVERYBODY = "ff:ff:ff:ff:ff:ff"
LINK = "fe80::5054:ff:fe12:3456"
MINUTE = 60_000_000_000


def arp(target: str, source: str = GUEST) -> Packet:
    return Ether(src=MAC, dst=EVERYBODY) / ARP(hwsrc=MAC, psrc=source, pdst=target)


def dhcp(*options: object, mac: str = MAC, client: str = "0.0.0.0", flags: int = 0) -> Packet:
    return (
        Ether(src=mac, dst=EVERYBODY)
        / IP(src=client, dst="255.255.255.255")
        / UDP(sport=68, dport=67)
        / BOOTP(chaddr=bytes.fromhex(mac.replace(":", "")), xid=77, ciaddr=client, flags=flags)
        / DHCP(options=[*options, "end"])
    )


def told(packet: Packet) -> dict[str, object]:
    """The options of a DHCP message."""
    return {
        each[0]: each[1] if len(each) == 2 else list(each[1:])
        for each in packet[DHCP].options
        if isinstance(each, tuple)
    }


def address_of(at: Plugged, mac: str = MAC, *wishes: object) -> str:
    """The address that a client gets who asks for one and takes it."""
    [offer] = at.ask(dhcp(("message-type", "discover"), *wishes, mac=mac))
    address = offer[BOOTP].yiaddr
    [ack] = at.ask(
        dhcp(
            ("message-type", "request"),
            ("server_id", "10.0.2.2"),
            ("requested_addr", address),
            mac=mac,
        )
    )
    assert told(ack)["message-type"] == 5
    assert ack[BOOTP].yiaddr == address
    return str(address)


@pytest.mark.parametrize("address", ["10.0.2.2", "10.0.2.3"])
def test_the_gateway_and_the_dns_server_are_on_the_link(address: str) -> None:
    with plugged() as at:
        [answer] = at.ask(arp(address))
        assert (answer[ARP].op, answer[ARP].hwsrc, answer[ARP].psrc) == (2, GATEWAY_MAC, address)
        assert (answer.dst, answer[ARP].hwdst, answer[ARP].pdst) == (MAC, MAC, GUEST)


@pytest.mark.parametrize("address", ["10.0.2.15", "10.0.2.4", "192.0.2.1"])
def test_nobody_else_is(address: str) -> None:
    with plugged() as at:
        assert not at.ask(arp(address))


def test_a_probe_for_a_free_address_is_not_answered_but_one_for_the_gateways_is() -> None:
    with plugged() as at:
        assert not at.ask(arp(GUEST, source="0.0.0.0"))
        assert at.ask(arp("10.0.2.2", source="0.0.0.0"))


def test_an_address_by_dhcp() -> None:
    with plugged() as at:
        [offer] = at.ask(dhcp(("message-type", "discover")))
        checked(offer)
        assert offer[BOOTP].xid == 77
        assert offer[BOOTP].yiaddr == GUEST
        assert offer.dst == MAC
        assert offer[IP].dst == GUEST
        options = told(offer)
        assert options["message-type"] == 2
        assert options["server_id"] == "10.0.2.2"
        assert options["router"] == "10.0.2.2"
        assert options["name_server"] == "10.0.2.3"
        assert options["subnet_mask"] == "255.255.255.0"
        assert options["lease_time"] == 86400
        assert address_of(at) == GUEST
        assert at.network.leases() == [(bytes.fromhex(MAC.replace(":", "")), f"{GUEST}/24")]


def test_a_client_that_cannot_be_reached_yet_hears_by_broadcast() -> None:
    with plugged() as at:
        [offer] = at.ask(dhcp(("message-type", "discover"), flags=0x8000))
        assert (offer.dst, offer[IP].dst) == (EVERYBODY, "255.255.255.255")


def test_each_client_has_an_address_of_its_own_and_keeps_it() -> None:
    with plugged() as at:
        others = [f"52:54:00:00:00:{number:02x}" for number in range(4)]
        addresses = [address_of(at, mac) for mac in others]
        assert addresses == ["10.0.2.15", "10.0.2.16", "10.0.2.17", "10.0.2.18"]
        assert [address_of(at, mac) for mac in others] == addresses


def test_any_number_of_clients_costs_no_more_memory_than_a_few() -> None:
    with plugged() as at:
        for number in range(20):
            assert address_of(at, f"52:54:00:00:01:{number:02x}")


def test_a_client_gets_the_address_that_it_wishes_if_that_is_free() -> None:
    with plugged() as at:
        assert address_of(at, MAC, ("requested_addr", "10.0.2.20")) == "10.0.2.20"
        other = "52:54:00:00:00:01"
        assert address_of(at, other, ("requested_addr", "10.0.2.20")) == "10.0.2.15"
        assert address_of(at, "52:54:00:00:00:02", ("requested_addr", "10.0.2.2")) == "10.0.2.16"


def test_who_asks_for_an_address_of_another_network_has_to_begin_anew() -> None:
    with plugged() as at:
        [nak] = at.ask(dhcp(("message-type", "request"), ("requested_addr", "192.168.1.7")))
        assert told(nak)["message-type"] == 6
        assert nak.dst == EVERYBODY


def test_another_servers_offer_is_none_of_our_business() -> None:
    with plugged() as at:
        asked = dhcp(("message-type", "request"), ("server_id", "10.0.2.9"))
        assert not at.ask(asked)


def test_a_lease_is_renewed_and_told_to_whom_it_belongs() -> None:
    with plugged() as at:
        address_of(at)
        [ack] = at.ask(dhcp(("message-type", "request"), client=GUEST))
        assert told(ack)["message-type"] == 5
        assert (ack[BOOTP].yiaddr, ack[BOOTP].ciaddr, ack[IP].dst) == (GUEST, GUEST, GUEST)


def test_names_and_addresses_are_as_chosen() -> None:
    options = [
        ("net", "192.168.76.0/24"),
        ("hostname", "box"),
        ("domainname", "example.org"),
        ("dnssearch", "a.example"),
        ("dnssearch", "b.example"),
        ("mtu", "9000"),
        ("dhcpstart", "192.168.76.40"),
        ("host", "192.168.76.9"),
    ]
    with plugged(*options) as at:
        [offer] = at.ask(dhcp(("message-type", "discover")))
        options_told = told(offer)
        assert offer[BOOTP].yiaddr == "192.168.76.40"
        assert options_told["router"] == "192.168.76.9"
        assert options_told["name_server"] == "192.168.76.3"
        assert options_told["hostname"] == b"box"
        assert options_told["domain"] == b"example.org"
        assert options_told["interface-mtu"] == 9000
        assert b"\x01a\x07example\x00\x01b\x07example\x00" in bytes(offer)


def test_a_restricted_network_has_no_way_out() -> None:
    with plugged(("restrict", "on")) as at:
        [offer] = at.ask(dhcp(("message-type", "discover")))
        assert not {"router", "name_server"} & told(offer).keys()
        [advertisement] = at.ask(router_solicitation())
        assert advertisement[ICMPv6ND_RA].routerlifetime == 0
        assert ICMPv6NDOptRDNSS not in advertisement


def router_solicitation() -> Packet:
    return (
        Ether(src=MAC, dst="33:33:00:00:00:02")
        / IPv6(src=LINK, dst="ff02::2", hlim=255)
        / (ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr=MAC))
    )


def test_the_router_advertises_itself_to_who_asks() -> None:
    with plugged(("dnssearch", "a.example"), ("mtu", "9000")) as at:
        [answer] = at.ask(router_solicitation())
        checked(answer)
        assert (answer[IPv6].src, answer[IPv6].dst, answer[IPv6].hlim) == ("fe80::2", LINK, 255)
        assert answer[ICMPv6ND_RA].routerlifetime > 0
        assert answer[ICMPv6ND_RA].O == 1
        prefix = answer[ICMPv6NDOptPrefixInfo]
        assert (prefix.prefix, prefix.prefixlen, prefix.A, prefix.L) == ("fec0::", 64, 1, 1)
        assert answer[ICMPv6NDOptRDNSS].dns == ["fec0::3"]
        assert answer[ICMPv6NDOptDNSSL].searchlist == ["a.example."]
        assert answer[ICMPv6NDOptMTU].mtu == 9000
        assert answer[ICMPv6NDOptSrcLLAddr].lladdr == GATEWAY_MAC


def test_the_router_advertises_itself_again_before_guests_forget_it() -> None:
    clock = VirtualClock()
    with plugged(clock=clock) as at:
        clock.advance(30 * MINUTE)
        advertised = at.received()
        lifetime = advertised[0][ICMPv6ND_RA].routerlifetime
        assert all(each[IPv6].dst == "ff02::1" for each in advertised)
        assert len(advertised) * lifetime >= 2 * 30 * 60


@pytest.mark.parametrize("address", ["fec0::2", "fec0::3", "fe80::2"])
def test_neighbours_are_found(address: str) -> None:
    with plugged() as at:
        group = f"ff02::1:ff00:{address[-1]}"
        ask = IPv6(src=LINK, dst=group, hlim=255) / ICMPv6ND_NS(tgt=address)
        at.ask(router_solicitation())
        [answer] = at.ask(Ether(src=MAC, dst="33:33:ff:00:00:02") / ask)
        checked(answer)
        assert (answer[ICMPv6ND_NA].tgt, answer[ICMPv6ND_NA].S) == (address, 1)
        assert answer.dst == MAC


def test_no_neighbour_answers_from_beyond_the_link_or_for_others() -> None:
    with plugged() as at:
        head = Ether(src=MAC, dst="33:33:ff:00:00:02")
        far = IPv6(src=LINK, dst="ff02::1:ff00:2", hlim=64) / ICMPv6ND_NS(tgt="fec0::2")
        other = IPv6(src=LINK, dst="ff02::1:ff00:9", hlim=255) / ICMPv6ND_NS(tgt="fec0::9")
        assert not at.ask(head / far, head / other)


def test_whoever_wants_the_gateways_own_address_hears_that_it_is_taken() -> None:
    with plugged() as at:
        probe = IPv6(src="::", dst="ff02::1:ff00:2", hlim=255) / ICMPv6ND_NS(tgt="fec0::2")
        [answer] = at.ask(Ether(src=MAC, dst="33:33:ff:00:00:02") / probe)
        assert (answer[IPv6].dst, answer[ICMPv6ND_NA].S) == ("ff02::1", 0)


def test_dhcpv6_tells_names_and_servers() -> None:
    with plugged(("dnssearch", "a.example")) as at:
        at.ask(router_solicitation())
        [answer] = at.ask(
            Ether(src=MAC, dst="33:33:00:01:00:02")
            / IPv6(src=LINK, dst="ff02::1:2")
            / UDP(sport=546, dport=547)
            / DHCP6_InfoRequest(trid=4711)
            / DHCP6OptClientId(duid=DUID_LL(lladdr=MAC))
        )
        checked(answer)
        assert answer[UDP].dport == 546
        assert answer[DHCP6_Reply].trid == 4711
        assert answer[DHCP6OptDNSServers].dnsservers == ["fec0::3"]
        assert answer[DHCP6OptDNSDomains].dnsdomains == ["a.example."]
        assert answer[DHCP6OptServerId].duid.lladdr == GATEWAY_MAC
        assert answer[DHCP6OptClientId].duid.lladdr == MAC


def test_without_ipv6_nothing_of_it_answers() -> None:
    with plugged(("ipv6", "off")) as at:
        assert not at.ask(router_solicitation())
        assert at.ask(arp("10.0.2.2"))
