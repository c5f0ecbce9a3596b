"""UDP and echoes: to the gateway, to the host, in fragments, and to nobody."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, UDP, UDPerror, defragment, fragment
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6NDOptDstLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    defragment6,
    fragment6,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from bimetal.base.clock import VirtualClock
from tests.backends.net.user.cable import GATEWAY_MAC, GUEST, MAC, Plugged, checked, plugged
from tests.backends.net.user.peer import GUEST6

SECOND = 1_000_000_000

HEAD = Ether(src=MAC, dst=GATEWAY_MAC)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def at(clock: VirtualClock) -> Iterator[Plugged]:
    with plugged(clock=clock) as network:
        learn(network)
        yield network


def learn(network: Plugged) -> None:
    """Have the network know where the guest is, by both versions of IP."""
    network.learn()
    told = ICMPv6ND_NA(tgt=GUEST6) / ICMPv6NDOptDstLLAddr(lladdr=MAC)
    network.ask(HEAD / IPv6(src=GUEST6, dst="ff02::1", hlim=255) / told)


def ip(to: str, **fields: object) -> Packet:
    return (
        HEAD / IPv6(src=GUEST6, dst=to, **fields)
        if ":" in to
        else HEAD / IP(src=GUEST, dst=to, **fields)
    )


@pytest.fixture(params=["10.0.2.2", "fec0::2"])
def gateway(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(gateway: str) -> Iterator[socket.socket]:
    v4 = "." in gateway
    with socket.socket(socket.AF_INET if v4 else socket.AF_INET6, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1" if v4 else "::1", 0))
        line.settimeout(60)
        yield line


def whole(parts: list[Packet]) -> Packet:
    """The frame that ``parts`` would have been."""
    if IPv6 in parts[0]:
        return Ether(bytes(HEAD / defragment6([each[IPv6] for each in parts])))
    [packet] = defragment(parts)
    return Ether(bytes(packet))


def port_of(line: socket.socket) -> int:
    port: int = line.getsockname()[1]
    return port


def echo(to: str, data: bytes) -> Packet:
    kind = ICMPv6EchoRequest(id=7, seq=3, data=data) if ":" in to else ICMP(id=7, seq=3) / data
    return ip(to) / kind


@pytest.mark.parametrize("to", ["10.0.2.2", "10.0.2.3", "fec0::2", "fec0::3", "fe80::2"])
def test_the_gateway_and_the_dns_server_answer_echoes(at: Plugged, to: str) -> None:
    [answer] = at.ask(echo(to, b"hello"))
    checked(answer)
    assert answer.dst == MAC
    if ":" in to:
        assert (answer[IPv6].src, answer[IPv6].dst) == (to, GUEST6)
        reply = answer[ICMPv6EchoReply]
        assert (reply.id, reply.seq, reply.data) == (7, 3, b"hello")
    else:
        assert (answer[IP].src, answer[IP].dst) == (to, GUEST)
        assert (answer[ICMP].type, answer[ICMP].id, answer[ICMP].seq) == (0, 7, 3)
        assert answer[Raw].load == b"hello"


def test_a_large_echo_travels_in_fragments(at: Plugged) -> None:
    data = random.Random(1).randbytes(20000)
    answers = at.ask(*fragment(echo("10.0.2.2", data), 1480))
    assert all(len(each) <= 1514 for each in answers)
    answer = whole(answers)
    assert answer[ICMP].type == 0
    assert bytes(answer[ICMP].payload) == data


def test_a_large_echo_of_ipv6_does_too(at: Plugged) -> None:
    data = random.Random(1).randbytes(5000)
    asked = ip("fec0::2")[IPv6] / IPv6ExtHdrFragment(id=5) / ICMPv6EchoRequest(data=data)
    answers = at.ask(*(HEAD / each for each in fragment6(asked, 1400)))
    assert all(len(each) <= 1514 for each in answers)
    assert whole(answers)[ICMPv6EchoReply].data == data


def test_fragments_come_in_any_order_and_twice(at: Plugged) -> None:
    data = random.Random(2).randbytes(9000)
    parts = fragment(echo("10.0.2.2", data), 1480)
    parts += parts[1:3]
    random.Random(3).shuffle(parts)
    assert at.ask(*parts)


def test_fragments_that_overlap_make_nothing(at: Plugged) -> None:
    first = ip("10.0.2.2", id=9, flags="MF", proto=1) / Raw(bytes(64))
    second = ip("10.0.2.2", id=9, frag=4, proto=1) / Raw(bytes(64))
    assert not at.ask(first, second)


def test_fragments_without_the_rest_are_forgotten(at: Plugged, clock: VirtualClock) -> None:
    for number in range(200):
        at.send(ip("10.0.2.2", id=number, flags="MF", proto=1) / Raw(bytes(64)))
    assert len(at.network._intake._reassembly._partial) <= 16
    parts = fragment(echo("10.0.2.2", bytes(3000)), 1480)
    at.ask(*parts[:-1])
    clock.advance(31 * SECOND)
    assert not at.ask(parts[-1])


def test_headers_with_options_are_read(at: Plugged) -> None:
    assert at.ask(ip("10.0.2.2", options=b"\x01\x01\x01\x01") / ICMP())
    options = IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt()
    assert at.ask(ip("fec0::2") / options / ICMPv6EchoRequest())


def test_a_host_that_lets_nobody_ping_says_so(at: Plugged, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("bimetal.backends.net.user.pings.new_socket", refuse)
    [answer] = at.ask(echo("198.51.100.1", b"hello"))
    checked(answer)
    assert (answer[ICMP].type, answer[ICMP].code) == (3, 13)
    assert any("ping_group_range" in each for each in at.network.events.counts)


def test_datagrams_reach_a_server_of_the_host_and_its_answers_come_back(
    at: Plugged, gateway: str, server: socket.socket
) -> None:
    at.send(ip(gateway) / UDP(sport=5000, dport=port_of(server)) / b"question")
    data, peer = server.recvfrom(100)
    assert data == b"question"
    server.sendto(b"answer", peer)
    at.until(lambda: at.cable.frames)
    [answer] = at.received()
    checked(answer)
    assert answer.getlayer(1).src == gateway
    assert (answer[UDP].sport, answer[UDP].dport) == (port_of(server), 5000)
    assert answer[UDP].payload.load == b"answer"


def test_anybody_may_answer_as_behind_any_friendly_router(
    at: Plugged, gateway: str, server: socket.socket
) -> None:
    at.send(ip(gateway) / UDP(sport=5000, dport=port_of(server)) / b"question")
    _, peer = server.recvfrom(100)
    with socket.socket(server.family, socket.SOCK_DGRAM) as other:
        other.sendto(b"answer", peer)
        at.until(lambda: at.cable.frames)
        [answer] = at.received()
        assert answer[UDP].sport == port_of(other)


def test_a_large_datagram_travels_in_fragments(
    at: Plugged, server: socket.socket, gateway: str
) -> None:
    data = random.Random(4).randbytes(9000)
    asked = UDP(sport=5000, dport=port_of(server)) / data
    if ":" in gateway:
        parts = fragment6(ip(gateway)[IPv6] / IPv6ExtHdrFragment(id=6) / asked, 1400)
        at.send(*(HEAD / each for each in parts))
    else:
        at.send(*fragment(ip(gateway) / asked, 1480))
    got, peer = server.recvfrom(10000)
    assert got == data
    server.sendto(data[::-1], peer)
    at.until(lambda: at.cable.frames)
    answers = at.received()
    answer = whole(answers)
    checked(answer)
    assert bytes(answer[UDP].payload) == data[::-1]


def test_a_port_at_which_nobody_listens_cannot_be_reached(
    at: Plugged, gateway: str, server: socket.socket
) -> None:
    port = port_of(server)
    server.close()
    at.send(ip(gateway) / UDP(sport=5000, dport=port) / b"question")
    at.until(lambda: at.cable.frames)
    [answer] = at.received()
    checked(answer)
    if ":" in gateway:
        assert (answer[ICMPv6DestUnreach].type, answer[ICMPv6DestUnreach].code) == (1, 4)
    else:
        assert (answer[ICMP].type, answer[ICMP].code) == (3, 3)
    assert (answer[UDPerror].sport, answer[UDPerror].dport) == (5000, port)


def test_an_error_of_one_datagram_loses_no_other(
    at: Plugged, gateway: str, server: socket.socket
) -> None:
    with socket.socket(server.family, socket.SOCK_DGRAM) as gone:
        gone.bind((server.getsockname()[0], 0))
        port = port_of(gone)
    for _ in range(3):
        at.send(ip(gateway) / UDP(sport=5000, dport=port) / b"to nobody")
        at.send(ip(gateway) / UDP(sport=5000, dport=port_of(server)) / b"question")
        assert server.recv(100) == b"question"


def test_a_wrong_checksum_is_seen_and_none_is_no_error(
    at: Plugged, server: socket.socket, gateway: str
) -> None:
    head = ip(gateway)
    at.send(head / UDP(sport=5000, dport=port_of(server), chksum=1) / b"damaged")
    if "." in gateway:
        at.send(head / UDP(sport=5000, dport=port_of(server), chksum=0) / b"whole")
    at.send(head / UDP(sport=5000, dport=port_of(server)) / b"whole")
    assert server.recv(100) == b"whole"


def test_ports_that_are_silent_for_long_are_forgotten(
    at: Plugged, clock: VirtualClock, server: socket.socket, gateway: str
) -> None:
    at.send(ip(gateway) / UDP(sport=5000, dport=port_of(server)) / b"question")
    clock.advance(200 * SECOND)
    assert len(at.network._udp) == 1
    clock.advance(60 * SECOND)
    assert len(at.network._udp) == 0


def test_any_number_of_ports_costs_no_more_sockets_than_a_limit(
    at: Plugged, monkeypatch: pytest.MonkeyPatch, server: socket.socket, gateway: str
) -> None:
    monkeypatch.setattr("bimetal.backends.net.user.udp.FLOWS_LIMIT", 10)
    for port in range(5000, 5030):
        at.send(ip(gateway) / UDP(sport=port, dport=port_of(server)) / b"question")
    assert len(at.network._udp) == 10


def test_groups_and_others_on_the_link_get_nothing(at: Plugged) -> None:
    for to in ("10.0.2.255", "255.255.255.255", "224.0.0.251", "ff02::fb"):
        assert not at.ask(ip(to) / UDP(sport=5353, dport=5353) / b"anybody?")
    [answer] = at.ask(ip("10.0.2.77") / UDP(sport=5000, dport=5000) / b"anybody?")
    assert (answer[ICMP].type, answer[ICMP].code) == (3, 1)


def test_who_pretends_to_be_somebody_elsewhere_is_not_served(
    at: Plugged, server: socket.socket, gateway: str
) -> None:
    port = port_of(server)
    for source in ("192.0.2.9", "10.0.2.2", "127.0.0.1"):
        packet = HEAD / IP(src=source, dst="10.0.2.2") / UDP(sport=5000, dport=port) / b"x"
        assert not at.ask(packet)
        assert not at.ask(HEAD / IP(src=source, dst="10.0.2.2") / ICMP())
    assert len(at.network._udp) == 0


def test_a_restricted_network_passes_nothing_on(server: socket.socket, gateway: str) -> None:
    with plugged(("restrict", "on")) as at:
        learn(at)
        [answer] = at.ask(ip(gateway) / UDP(sport=5000, dport=port_of(server)) / b"question")
        assert ICMP in answer or ICMPv6DestUnreach in answer
        assert len(at.network._udp) == 0
        assert len(at.ask(echo(gateway, b""))) == 1


def test_a_flood_for_a_guest_without_room_costs_no_memory(at: Plugged) -> None:
    """However often the host's sockets say that there is more, each waits once."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        at.send(ip("10.0.2.2") / UDP(sport=1000, dport=line.getsockname()[1]) / b"here I am")
        _, guest = line.recvfrom(100)
        at.cable.room = 0
        for number in range(500):
            line.sendto(b"%d" % number, guest)
            at.turns(1)
        assert len(at.network._udp._postponed) == 1
        at.received()
        at.cable.room = 1 << 30
        at.network.resume()
        at.until(lambda: len(at.cable.frames) >= 100)
        got = [bytes(each[UDP].payload) for each in at.received()]
        assert got[:100] == [b"%d" % number for number in range(100)]
