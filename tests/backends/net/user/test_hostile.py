"""Guests and hosts that mean ill: damaged frames of every kind, floods, connections without end."""

from __future__ import annotations

import itertools
import random
import resource
import socket
from collections.abc import Iterator

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import DUID_LL, DHCP6_InfoRequest, DHCP6OptClientId
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, UDP, fragment
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6ND_RS,
    IPv6,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    fragment6,
)
from scapy.layers.l2 import ARP, Ether

from bimetal.backends.net.user.names import failure, question
from bimetal.backends.net.user.tcp.segments import peer_options
from bimetal.base.clock import VirtualClock
from bimetal.base.frames import CHECKSUM_VALID, NEEDS_CHECKSUM, PLAIN, Frame, Offload
from tests.backends.net.user.cable import GATEWAY_MAC, GUEST, MAC, Plugged, plugged, sent
from tests.backends.net.user.peer import ACK, FIN, GUEST6, OPTIONS, PSH, RST, SYN, Listener, Peer

SECOND = 1_000_000_000

HEAD = Ether(src=MAC, dst=GATEWAY_MAC)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def at(clock: VirtualClock) -> Iterator[Plugged]:
    with plugged(("restrict", "on"), clock=clock) as network:
        network.learn()
        yield network


def seeds(at: Plugged) -> list[bytes]:
    """A frame of each kind that the network knows."""
    v4, v6 = HEAD / IP(src=GUEST, dst="10.0.2.2"), HEAD / IPv6(src=GUEST6, dst="fec0::2")
    packets = [
        HEAD / ARP(hwsrc=MAC, psrc=GUEST, pdst="10.0.2.2"),
        v4 / ICMP() / b"data",
        *fragment(v4 / ICMP() / bytes(3000), 1480),
        HEAD / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67)
        / BOOTP(chaddr=bytes(6)) / DHCP(options=[("message-type", "discover"), "end"]),
        HEAD / IP(src=GUEST, dst="10.0.2.3") / UDP(sport=5, dport=53)
        / DNS(qd=DNSQR(qname="_gateway")),
        v4 / UDP(sport=5, dport=6) / b"data",
        HEAD / IPv6(src="fe80::1", dst="ff02::2", hlim=255) / ICMPv6ND_RS(),
        HEAD / IPv6(src=GUEST6, dst="fec0::2", hlim=255) / ICMPv6ND_NS(tgt="fec0::2"),
        v6 / IPv6ExtHdrHopByHop() / ICMPv6EchoRequest(),
        *(HEAD / part for part in
          fragment6(v6[IPv6] / IPv6ExtHdrFragment() / ICMPv6EchoRequest(data=bytes(3000)), 1400)),
        v6 / UDP(sport=546, dport=547) / DHCP6_InfoRequest()
        / DHCP6OptClientId(duid=DUID_LL(lladdr=MAC)),
    ]  # fmt: skip
    peers = [Peer(at, 80), Peer(at, 80, there="fec0::2")]
    segments = [
        peer.frame(flags, position, data, options)
        for peer in peers
        for flags, position, data, options in (
            (SYN, -1, b"", OPTIONS),
            (ACK | PSH, 0, b"data", b""),
            (ACK | FIN, 4, b"", b""),
            (RST, 4, b"", b""),
        )
    ]
    return [bytes(each) for each in packets] + [bytes(each.pieces[0]) for each in segments]


def damaged(frame: bytes, chance: random.Random) -> bytes:
    """``frame`` with some bytes changed, cut off or put in."""
    data = bytearray(frame)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(data)) if data else 0
        match chance.randrange(4):
            case 0 if data:
                data[at] ^= 1 << chance.randrange(8)
            case 1 if data:
                data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                del data[at:]
            case _:
                data[at:at] = chance.randbytes(chance.randrange(1, 60))
    return bytes(data.ljust(14, b"\0"))


def cut(frame: bytes, chance: random.Random) -> Frame:
    """``frame`` in pieces, as a driver may lay it out, with whatever it says of checksums."""
    offload = chance.choice([PLAIN, Offload(CHECKSUM_VALID), Offload(NEEDS_CHECKSUM)])
    at = sorted(
        {0, len(frame), *(chance.randrange(len(frame)) for _ in range(chance.randrange(4)))}
    )
    pieces = [memoryview(frame)[a:b] for a, b in itertools.pairwise(at)]
    return Frame(pieces, offload)


def flood(at: Plugged, clock: VirtualClock, count: int, seed: int) -> None:
    """Send many damaged frames."""
    chance = random.Random(seed)
    frames = seeds(at)
    for _ in range(count):
        at.send(cut(damaged(chance.choice(frames), chance), chance))
        at.cable.frames.clear()
        at.cable.offloads.clear()
        clock.advance(chance.choice((0, 0, SECOND // 100)))
    network = at.network
    assert not network._tcp.connections
    assert not network._tcp.held
    assert len(network._intake._reassembly._partial) <= 16
    assert len(network._link._macs) <= 256
    assert [answer.op for answer in at.ask(HEAD / ARP(hwsrc=MAC, psrc=GUEST, pdst="10.0.2.2"))] == [
        2
    ]


def test_damaged_frames_of_every_kind_do_no_harm(at: Plugged, clock: VirtualClock) -> None:
    flood(at, clock, 4000, seed=1)


@pytest.mark.slow
def test_damaged_frames_of_every_kind_do_no_harm_at_length(
    at: Plugged, clock: VirtualClock
) -> None:
    flood(at, clock, 300_000, seed=2)


def test_random_bytes_are_no_questions_and_no_options() -> None:
    chance = random.Random(3)
    for _ in range(5000):
        data = chance.randbytes(chance.randrange(40))
        peer_options(data)
        found = question(data)
        assert found is None or len(found.text) <= len(data)
        assert len(failure(data.ljust(12), 2)) >= 12
    assert peer_options(b"\x02\x04\x05\xb4\x01\x03\x03\xff") == (1460, 14)


def test_a_guest_that_takes_nothing_costs_a_bounded_number_of_frames(at: Plugged) -> None:
    at.cable.room = 0
    asked = sent(HEAD / IP(src=GUEST, dst="10.0.2.2") / ICMP() / b"data")
    for _ in range(5000):
        at.send(asked)
    outlet = at.network._outlet
    assert len(outlet._frames) <= 256
    assert outlet.dropped
    at.cable.room = 1 << 20
    at.network.resume()
    assert not outlet._frames


def test_what_all_connections_keep_for_hosts_that_do_not_read_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bimetal.backends.net.user.tcp.table.HELD_LIMIT", 1 << 20)
    with plugged() as at, Listener() as server:
        at.learn()
        peers = []
        for port in range(20000, 20004):
            peer = Peer(at, server.port, port)
            peer.connect()
            peers.append((peer, server.accept()))
        for _ in range(250):
            for peer, _ in peers:
                at.send(peer.frame(ACK | PSH, peer.acknowledged, bytes(50_000)))
                peer.sent = peer.acknowledged + 50_000
                peer.take()
        assert 1 << 20 <= at.network._tcp.held < (1 << 20) + 50_000
        for peer, line in peers:  # everything that was acknowledged arrives
            promised, got = peer.acknowledged, 0
            line.settimeout(0.01)

            def read(line: socket.socket = line, promised: int = promised) -> bool:
                nonlocal got
                try:
                    got += len(line.recv(1 << 20))
                except TimeoutError:
                    return False
                return got == promised

            at.until(read)
            line.close()


def test_what_all_connections_keep_for_guests_that_do_not_acknowledge_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bimetal.backends.net.user.tcp.table.HELD_LIMIT", 1 << 20)
    with plugged() as at, Listener() as server:
        at.learn()
        lines = []
        for port in range(20000, 20020):
            peer = Peer(at, server.port, port)
            peer.connect()
            line = server.accept()
            line.setblocking(False)
            line.send(bytes(1 << 20))
            lines.append(line)
        at.turns(100)
        assert at.network._tcp.held < (1 << 20) + 20 * 65536
        for line in lines:
            line.close()


def test_more_connections_than_a_limit_are_not_made(
    at: Plugged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bimetal.backends.net.user.tcp.table.CONNECTIONS_LIMIT", 20)
    with plugged() as network, Listener() as server:
        network.learn()
        for port in range(20000, 20030):
            Peer(network, server.port, port).ask()
        assert len(network.network._tcp.connections) == 20


@pytest.mark.slow
def test_thousands_of_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(4000, hard // 2 - 500)
    with plugged() as at, Listener() as server:
        at.learn()
        peers = {}
        lines = []
        for port in range(20000, 20000 + count):
            peer = peers[port] = Peer(at, server.port, port)
            peer.connect()
            lines.append(server.accept())
        for number, line in enumerate(lines):
            line.sendall(b"%d" % number)

        def all_there() -> bool:
            frames, at.cable.frames = at.cable.frames, []
            for frame in frames:
                at.cable.frames = [frame]
                peers[int.from_bytes(frame[36:38], "big")].take()
            return all(peer.got for peer in peers.values())

        at.until(all_there)
        for number, (peer, line) in enumerate(zip(peers.values(), lines, strict=True)):
            assert peer.got == b"%d" % number
            peer.send(b"%d" % -number)
            assert line.recv(100) == b"%d" % -number
            line.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
