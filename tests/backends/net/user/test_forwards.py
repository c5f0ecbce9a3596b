"""Ways in and out that the user has opened: ports of the host, services for the guest."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NS
from scapy.layers.l2 import ARP, Ether

from bimetal.base.errors import BimetalError
from tests.backends.net.user.cable import GATEWAY_MAC, GUEST, MAC, Plugged, checked, plugged
from tests.backends.net.user.peer import ACK, OPTIONS, RST, SYN, Listener, Peer, Segment, parse


def dialled(at: Plugged, number: int = 0) -> tuple[str, int]:
    """Where a forwarded port is."""
    found = at.network.forwards[number]
    return found.host, found.port


@pytest.fixture
def at() -> Iterator[Plugged]:
    with plugged(("hostfwd", "tcp::0-:22"), ("hostfwd", "udp::0-:53")) as network:
        yield network


def knock(at: Plugged) -> Segment:
    """The SYN that the guest gets for somebody who has dialled."""
    found: list[Segment] = []

    def look() -> bool:
        frames, at.cable.frames = at.cable.frames, []
        found.extend(each for each in map(parse, frames) if each is not None)
        return bool(found)

    at.until(look)
    [syn] = found
    assert syn.flags == SYN
    return syn


def answered(at: Plugged, syn: Segment, flags: int = SYN | ACK) -> Peer:
    """The guest's end of that connection, which it has accepted, or refused."""
    peer = Peer(at, syn.source_port, syn.port)
    peer.start = syn.sequence + 1
    options = OPTIONS if flags & SYN else b""
    at.send(peer.frame(flags, -1 if flags & SYN else 0, options=options))
    peer.take()
    return peer


def test_who_dials_a_forwarded_port_talks_to_the_guest(at: Plugged) -> None:
    at.learn()
    with socket.create_connection(dialled(at)) as line:
        syn = knock(at)
        assert (syn.port, syn.source_port) == (22, line.getsockname()[1])
        peer = answered(at, syn)
        line.sendall(b"hello guest")
        at.until(lambda: peer.take() and peer.got == b"hello guest")
        peer.send(b"hello host")
        assert line.recv(100) == b"hello host"
        peer.finish()
        assert line.recv(100) == b""
        peer.take()
        line.close()
        at.until(lambda: (peer.take(), peer.finished)[-1])


def test_a_guest_that_refuses_is_seen_outside(at: Plugged) -> None:
    at.learn()
    with socket.create_connection(dialled(at)) as line:
        answered(at, knock(at), RST | ACK)
        line.settimeout(60)
        with pytest.raises(ConnectionResetError):
            line.recv(1)


def test_who_dials_before_the_guest_is_there_waits_for_it(at: Plugged) -> None:
    with socket.create_connection(dialled(at)):
        at.until(lambda: at.cable.frames)
        [asked] = at.received()
        assert (asked[ARP].op, asked[ARP].pdst, asked[ARP].psrc) == (1, GUEST, "10.0.2.2")
        at.until(lambda: at.cable.frames)  # it asks again
        assert at.received()[0][ARP].pdst == GUEST
        at.send(Ether(src=MAC, dst=GATEWAY_MAC) / ARP(op=2, hwsrc=MAC, psrc=GUEST, pdst="10.0.2.2"))
        assert knock(at).port == 22


def test_whoever_waits_for_the_guest_is_served_when_it_comes() -> None:
    """At every forwarded port, however often they have dialled."""
    words = ("hostfwd", "tcp::0-:22"), ("hostfwd", "tcp::0-:80")
    with plugged(*words) as at, contextlib.ExitStack() as lines:
        for number in (0, 1, 0, 1):
            lines.enter_context(socket.create_connection(dialled(at, number)))
            at.turns()
        at.received()
        at.send(Ether(src=MAC, dst=GATEWAY_MAC) / ARP(op=2, hwsrc=MAC, psrc=GUEST, pdst="10.0.2.2"))
        found: list[int] = []

        def look() -> bool:
            frames, at.cable.frames = at.cable.frames, []
            found.extend(each.port for each in map(parse, frames) if each and each.flags == SYN)
            return len(found) >= 4

        look()
        at.until(look)
        assert sorted(found) == [22, 22, 80, 80]


def test_a_syn_that_got_lost_is_sent_again(at: Plugged) -> None:
    at.learn()
    with socket.create_connection(dialled(at)):
        first = knock(at)
        assert knock(at) == first


def test_datagrams_come_in_and_answers_go_out(at: Plugged) -> None:
    at.learn()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(60)
        line.sendto(b"question", dialled(at, 1))
        at.until(lambda: at.cable.frames)
        [got] = at.received()
        checked(got)
        assert (got[IP].src, got[IP].dst, got[UDP].dport) == ("10.0.2.2", GUEST, 53)
        assert got[UDP].payload.load == b"question" or bytes(got[UDP].payload) == b"question"
        answer = IP(src=GUEST, dst="10.0.2.2") / UDP(sport=53, dport=got[UDP].sport) / b"answer"
        at.send(Ether(src=MAC, dst=GATEWAY_MAC) / answer)
        assert line.recvfrom(100) == (b"answer", dialled(at, 1))


def test_forwarded_ports_are_for_this_host_only_unless_one_says_otherwise() -> None:
    with plugged(("hostfwd", "tcp::0-:22"), ("hostfwd", "tcp:0.0.0.0:0-:22")) as at:
        assert dialled(at)[0] == "127.0.0.1"
        assert dialled(at, 1)[0] == "0.0.0.0"


def test_somebody_from_outside_keeps_its_address(at: Plugged) -> None:
    places = at.network._places
    assert places.seen_address("198.51.100.7", 4) == bytes((198, 51, 100, 7))
    assert places.seen_address("127.0.0.5", 4) == bytes((10, 0, 2, 2))
    assert places.seen_address("10.0.2.15", 4) == bytes((10, 0, 2, 2))
    assert places.seen_address("2001:db8::7", 4) == bytes((10, 0, 2, 2))


def test_ipv6_outside_and_ipv4_inside() -> None:
    with plugged(("hostfwd", "tcp:[::1]:0-:22"), ("hostfwd", "udp:[::1]:0-:53")) as at:
        at.learn()
        with socket.create_connection(dialled(at)) as line:
            peer = answered(at, knock(at))
            peer.send(b"hello")
            assert line.recv(100) == b"hello"
        at.received()
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as line:
            line.settimeout(60)
            line.sendto(b"question", dialled(at, 1))
            at.until(lambda: any(UDP in Ether(each) for each in at.cable.frames))
            got = next(each for each in at.received() if UDP in each)
            head = Ether(src=MAC, dst=GATEWAY_MAC) / IP(src=GUEST, dst=got[IP].src)
            at.send(head / UDP(sport=53, dport=got[UDP].sport) / b"answer")
            assert line.recv(100) == b"answer"


def test_ipv6_inside_too() -> None:
    with (
        plugged(("hostfwd", "tcp:[::1]:0-[fec0::15]:22")) as at,
        socket.create_connection(dialled(at)),
    ):
        at.until(lambda: at.cable.frames)
        [asked] = at.received()
        assert asked[ICMPv6ND_NS].tgt == "fec0::15"
        checked(asked)


def test_a_restricted_network_lets_in_whom_it_is_told_to() -> None:
    options = [("restrict", "on"), ("hostfwd", "tcp::0-:22"), ("hostfwd", "udp::0-:53")]
    with plugged(*options) as at:
        at.learn()
        with socket.create_connection(dialled(at)) as line:
            peer = answered(at, knock(at))
            peer.send(b"hello")
            assert line.recv(100) == b"hello"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            other.setblocking(False)
            head = Ether(src=MAC, dst=GATEWAY_MAC) / IP(src=GUEST, dst="10.0.2.2")
            at.send(head / UDP(sport=53, dport=other.getsockname()[1]) / b"out")
            with pytest.raises(BlockingIOError):
                other.recv(100)  # it has never asked


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_that_is_in_use_is_told(protocol: str) -> None:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(BimetalError, match=f"{port}.*in use.*choose another port"),
            plugged(("hostfwd", f"{protocol}::{port}-:22")),
        ):
            pass


def test_an_address_that_is_not_ours_is_told() -> None:
    with (
        pytest.raises(BimetalError, match="choose an address of this host"),
        plugged(("hostfwd", "tcp:198.51.100.1:0-:22")),
    ):
        pass


def test_closing_gives_ports_back() -> None:
    with plugged(("hostfwd", "tcp::0-:22")) as at:
        port = dialled(at)[1]
    with plugged(("hostfwd", f"tcp::{port}-:22")):
        pass


# Services


def connected(at: Plugged, there: str, port: int) -> Peer:
    peer = Peer(at, port, there=there)
    peer.connect()
    return peer


def test_a_command_serves_the_guest() -> None:
    with plugged(("guestfwd", "tcp:10.0.2.100:80-cmd:tr a-z A-Z"), ("restrict", "on")) as at:
        asked = Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff")
        [found] = at.ask(asked / ARP(hwsrc=MAC, psrc=GUEST, pdst="10.0.2.100"))
        assert found[ARP].psrc == "10.0.2.100"
        peer = connected(at, "10.0.2.100", 80)
        peer.send(b"hello\n")
        peer.finish()
        at.until(lambda: (peer.take(), peer.finished)[-1])
        assert peer.got == b"HELLO\n"
        other = Peer(at, 81, there="10.0.2.100")
        other.ask()
        other.take()
        assert other.reset


def test_each_connection_has_a_command_of_its_own_which_ends_with_the_network() -> None:
    with plugged(("guestfwd", "tcp:10.0.2.100:80-cmd:echo $$; exec sleep 1000")) as at:
        numbers = set()
        for port in (1, 2):
            peer = Peer(at, 80, port, there="10.0.2.100")
            peer.connect()
            at.until(lambda peer=peer: peer.take() and peer.got)  # type: ignore[misc]
            numbers.add(int(peer.got))
    assert len(numbers) == 2
    assert not any(Path(f"/proc/{number}").exists() for number in numbers)


def test_a_server_of_the_host_serves_the_guest(tmp_path: Path) -> None:
    path = tmp_path / "service"
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(Listener())
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(path))
        unix.listen()
        options = [
            ("guestfwd", f"tcp:10.0.2.100:1-tcp:127.0.0.1:{tcp.port}"),
            ("guestfwd", f"tcp:10.0.2.100:2-unix:{path}"),
            ("guestfwd", f"tcp:10.0.2.100:3-unix:{path}.missing"),
        ]
        at = stack.enter_context(plugged(*options))
        at.learn()
        for port, server in ((1, tcp.line), (2, unix)):
            peer = Peer(at, port, 40000 + port, there="10.0.2.100")
            peer.connect()
            line, _ = server.accept()
            with line:
                peer.send(b"hello")
                assert line.recv(100) == b"hello"
        peer = Peer(at, 3, there="10.0.2.100")
        peer.ask()
        peer.take()
        assert peer.reset
