"""The network's DNS server: names of its own, and the host's servers for all others."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from bimetal.backends.net.user.resolver import HostFile, servers_in
from bimetal.base.clock import VirtualClock
from tests.backends.net.user.cable import GATEWAY_MAC, GUEST, MAC, Plugged, checked, plugged
from tests.backends.net.user.peer import Peer

SECOND = 1_000_000_000


def query(name: str, kind: str = "A", number: int = 99) -> Packet:
    return (
        Ether(src=MAC, dst=GATEWAY_MAC)
        / IP(src=GUEST, dst="10.0.2.3")
        / UDP(sport=5000, dport=53)
        / DNS(id=number, rd=1, qd=DNSQR(qname=name, qtype=kind))
    )


def addresses(packet: Packet) -> list[str]:
    return [each.rdata for each in packet[DNS].an or []]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """One of the host's servers, at a port that is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        line.settimeout(60)
        monkeypatch.setattr("bimetal.backends.net.user.resolver.DNS_PORT", line.getsockname()[1])
        yield line


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The host's lists of servers and of names."""
    resolvers, hosts = tmp_path / "resolv.conf", tmp_path / "hosts"
    resolvers.write_text("# ours\nnameserver 127.0.0.1\n")
    hosts.write_text(
        "127.0.0.1 localhost inside\n192.0.2.7 mirror.example Mirror # a name\n::1 six\n"
    )
    return resolvers, hosts


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def at(files: tuple[Path, Path], clock: VirtualClock) -> Iterator[Plugged]:
    resolvers, hosts = (HostFile(path) for path in files)
    options = [("hostname", "box"), ("domainname", "example.org")]
    with plugged(*options, clock=clock, files=(resolvers, hosts)) as network:
        network.learn()
        yield network


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("_gateway", "A", ["10.0.2.2"]),
        ("_gateway", "AAAA", ["fec0::2"]),
        ("_gateway.example.org", "A", ["10.0.2.2"]),
        (socket.gethostname(), "A", ["10.0.2.2"]),
        ("box", "A", ["10.0.2.15"]),
        ("box", "AAAA", []),
        ("BOX.Example.org", "A", ["10.0.2.15"]),
        ("mirror.example", "A", ["192.0.2.7"]),
        ("mirror", "A", ["192.0.2.7"]),
        ("inside", "A", ["10.0.2.2"]),
        ("six", "AAAA", ["fec0::2"]),
    ],
)
def test_names_that_are_known_here(at: Plugged, name: str, kind: str, found: list[str]) -> None:
    [answer] = at.ask(query(name, kind))
    checked(answer)
    assert answer[DNS].id == 99
    assert answer[DNS].qr == 1
    assert answer[DNS].rcode == 0
    assert answer[DNS].qd[0].qname.decode().lower() == f"{name}.".lower()
    assert addresses(answer) == found


def test_all_others_are_asked_of_the_host_and_answers_pass_as_they_are(
    at: Plugged, server: socket.socket
) -> None:
    at.send(query("other.example", "TXT"))
    asked, peer = server.recvfrom(1000)
    assert DNS(asked)[DNSQR].qname == b"other.example."
    answer = bytes(
        DNS(id=99, qr=1, qd=DNS(asked).qd, an=DNSRR(rrname="other.example", rdata="192.0.2.9"))
    )
    server.sendto(answer, peer)
    at.until(lambda: at.cable.frames)
    [got] = at.received()
    checked(got)
    assert bytes(got[UDP].payload) == answer
    assert (got[IP].src, got[UDP].sport, got[UDP].dport) == ("10.0.2.3", 53, 5000)
    assert len(at.network._resolver) == 0


def test_two_questions_at_a_time_get_their_own_answers(at: Plugged, server: socket.socket) -> None:
    at.send(query("a.example", number=1), query("a.example", "AAAA", number=2))
    asked = [server.recvfrom(1000) for _ in range(2)]
    for message, peer in reversed(asked):
        server.sendto(message[:2] + b"\x81\x80" + message[4:], peer)
    at.until(lambda: len(at.cable.frames) == 2)
    assert {each[DNS].id for each in at.received()} == {1, 2}


def test_an_answer_to_another_question_is_none(at: Plugged, server: socket.socket) -> None:
    at.send(query("other.example"))
    message, peer = server.recvfrom(1000)
    server.sendto(b"\0\0" + message[2:], peer)
    at.turns()
    assert not at.received()
    server.sendto(message, peer)
    at.until(lambda: at.cable.frames)


def test_where_nobody_listens_the_next_server_is_asked(
    at: Plugged, server: socket.socket, files: tuple[Path, Path]
) -> None:
    files[0].write_text("nameserver 127.0.0.99\nnameserver 127.0.0.1\n")
    at.send(query("other.example"))
    at.turns()
    assert server.recvfrom(1000)


def test_when_a_server_does_not_answer_the_next_one_is_asked(
    at: Plugged, server: socket.socket, files: tuple[Path, Path], clock: VirtualClock
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.98", server.getsockname()[1]))
        files[0].write_text("nameserver 127.0.0.98\nnameserver 127.0.0.1\n")
        at.send(query("other.example"))
        clock.advance(4 * SECOND)
        assert server.recvfrom(1000)
        clock.advance(4 * SECOND)
        [answer] = at.received()
        assert answer[DNS].rcode == 2
        assert len(at.network._resolver) == 0


def test_without_any_server_the_question_fails_at_once(
    at: Plugged, files: tuple[Path, Path], server: socket.socket
) -> None:
    server.close()
    at.send(query("other.example"))
    at.until(lambda: at.cable.frames)
    [answer] = at.received()
    assert answer[DNS].rcode == 2
    assert answer[DNS].qd[0].qname == b"other.example."


def test_any_number_of_questions_costs_no_more_sockets_than_a_limit(
    at: Plugged, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bimetal.backends.net.user.resolver.QUERIES_LIMIT", 10)
    for number in range(30):
        at.send(query("other.example", number=number))
    assert len(at.network._resolver) == 10


def test_a_restricted_network_knows_its_own_names_only() -> None:
    with plugged(("restrict", "on")) as at:
        at.learn()
        [answer] = at.ask(query("other.example"))
        assert answer[DNS].rcode == 5
        [answer] = at.ask(query("_gateway"))
        assert addresses(answer) == ["10.0.2.2"]


def test_questions_over_tcp_go_to_the_hosts_server(
    at: Plugged, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, int]] = []

    def connecting(host: str, port: int) -> tuple[socket.socket, bool]:
        opened.append((host, port))
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("bimetal.backends.net.user.doors._connecting", connecting)
    peer = Peer(at, 53, there="10.0.2.3")
    peer.ask()
    assert opened == [("127.0.0.1", 53)]


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("", ["127.0.0.1"]),
        ("nameserver\nsearch example.org\n", ["127.0.0.1"]),
        (
            "nameserver 192.0.2.1\noptions edns0\nnameserver fe80::1%eth0\n",
            ["192.0.2.1", "fe80::1%eth0"],
        ),
        ("nameserver 1\n" * 9, ["1", "1", "1"]),
    ],
)
def test_the_hosts_servers_are_those_of_its_file(text: str, servers: list[str]) -> None:
    assert servers_in(text) == servers
