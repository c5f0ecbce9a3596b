"""TCP connections out of the guest: their beginning, their data, and all ways to end."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCPerror
from scapy.layers.inet6 import ICMPv6DestUnreach
from scapy.layers.l2 import Ether

from bimetal.base.clock import VirtualClock
from bimetal.base.frames import NEEDS_CHECKSUM, PLAIN, Frame, Offload, Segmentation
from tests.backends.net.user.cable import Plugged, checked, plugged
from tests.backends.net.user.peer import ACK, FIN, PSH, RST, SYN, Listener, Peer

SECOND = 1_000_000_000


@pytest.fixture
def at() -> Iterator[Plugged]:
    with plugged() as network:
        network.learn()
        yield network


@pytest.fixture
def server() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


def closed_port() -> int:
    """A port of the loopback interface at which nobody listens."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        port: int = line.getsockname()[1]
        return port


def reset(line: socket.socket) -> None:
    """Close a socket by a reset."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()


@pytest.fixture(params=[4, 6])
def pair(request: pytest.FixtureRequest, at: Plugged) -> Iterator[tuple[Peer, socket.socket]]:
    """The guest's and the host's end of a connection, over either version of IP."""
    family = socket.AF_INET if request.param == 4 else socket.AF_INET6
    with Listener(family) as listener:
        there = "10.0.2.2" if request.param == 4 else "fec0::2"
        peer = Peer(at, listener.port, there=there)
        peer.connect()
        with listener.accept() as line:
            yield peer, line


def test_the_answer_to_a_syn_has_the_options_that_the_guest_knows(
    at: Plugged, server: Listener
) -> None:
    peer = Peer(at, server.port)
    peer.connect()
    answer = peer.segments[0]
    assert answer.flags == SYN | ACK
    assert answer.acknowledged == peer.base
    assert answer.options == b"\x02\x04\x05\xb4\x01\x03\x03\x05"


def test_a_guest_that_does_not_scale_windows_gets_none(at: Plugged, server: Listener) -> None:
    peer = Peer(at, server.port)
    at.send(peer.frame(SYN, -1, options=b"\x02\x04\x02\x00", acknowledged=0))
    at.until(peer.answered)
    assert peer.segments[0].options == b"\x02\x04\x05\xb4"
    peer.window = 4000
    peer.acknowledge()
    with server.accept() as line:
        line.sendall(bytes(5000))
        at.until(lambda: peer.take() and len(peer.got) == 4000)
        assert all(each.window <= 0xFFFF for each in peer.segments)
        assert at.cable.offloads[-1].segment_size == 512


def test_nothing_is_promised_before_the_host_has_connected(at: Plugged) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):  # no other one has room beside it
            peer = Peer(at, port)
            peer.ask()
            at.turns()
            assert peer.take() == []
            server.accept()[0].close()
            at.until(peer.answered)  # the host asks again after a second


def test_bytes_go_both_ways(pair: tuple[Peer, socket.socket]) -> None:
    peer, line = pair
    peer.send(b"from the guest")
    assert line.recv(100) == b"from the guest"
    [told] = peer.take()
    assert (told.flags, told.data, peer.acknowledged) == (ACK, b"", 14)
    line.sendall(b"from the host")
    peer.at.until(peer.take)
    assert peer.got == b"from the host"
    peer.acknowledge()
    peer.at.turns()
    assert not peer.take(), "nobody acknowledges an acknowledgement"


def test_a_batch_is_acknowledged_once(pair: tuple[Peer, socket.socket]) -> None:
    peer, line = pair
    frames = [peer.frame(ACK, 1000 * number, bytes(1000)) for number in range(20)]
    peer.sent = 20000
    peer.at.send(*frames)
    assert len(peer.take()) == 1
    assert peer.acknowledged == 20000
    assert len(line.recv(20000, socket.MSG_WAITALL)) == 20000


def test_large_segments_in_pieces_and_without_checksums_are_taken_as_they_are(
    pair: tuple[Peer, socket.socket],
) -> None:
    peer, line = pair
    data = bytes(range(256)) * 250
    plain = bytes(peer.frame(ACK | PSH, 0, data).pieces[0])
    header = len(plain) - len(data)
    damaged = plain[: header - 4] + b"\0\0" + plain[header - 2 : header]
    pieces = [damaged, *(data[at : at + 4096] for at in range(0, len(data), 4096))]
    segmentation = Segmentation.TCP4 if header == 54 else Segmentation.TCP6
    offload = Offload(NEEDS_CHECKSUM, segmentation, header, 1460, header - 20, 16)
    peer.sent = len(data)
    peer.at.send(Frame([memoryview(each) for each in pieces], offload))
    assert line.recv(len(data), socket.MSG_WAITALL) == data
    peer.take()
    assert peer.acknowledged == len(data)


def test_much_from_the_host_comes_in_large_segments(pair: tuple[Peer, socket.socket]) -> None:
    peer, line = pair
    data = bytes(range(256)) * 400
    line.sendall(data)

    def all_there() -> bool:
        peer.take()
        peer.acknowledge()
        return len(peer.got) == len(data)

    peer.at.until(all_there)
    assert peer.got == data
    large = [each for each in peer.segments if len(each.data) > 1460]
    assert large


def test_large_segments_say_how_to_cut_them(at: Plugged, server: Listener) -> None:
    peer = Peer(at, server.port)
    peer.connect()
    with server.accept() as line:
        line.sendall(bytes(5000))
        at.until(lambda: at.cable.frames)
        expected = Offload(NEEDS_CHECKSUM, Segmentation.TCP4, 54, 1460, 34, 16)
        assert expected in at.cable.offloads
        checked(at.received()[0])


@pytest.mark.parametrize("damage", [(20, 1), (36, 8), (-1, 64)])
def test_a_damaged_segment_is_dropped(
    at: Plugged, server: Listener, damage: tuple[int, int]
) -> None:
    peer = Peer(at, server.port)
    peer.connect()
    data = bytearray(peer.frame(ACK | PSH, 0, b"data").pieces[0])
    data[damage[0]] ^= damage[1]
    at.send(Frame((bytes(data),)))
    assert not peer.take()
    peer.send(b"right")
    with server.accept() as line:
        assert line.recv(100) == b"right"


def test_padding_of_short_frames_is_no_data(pair: tuple[Peer, socket.socket]) -> None:
    peer, line = pair
    frame = bytes(peer.frame(ACK | PSH, 0, b"x").pieces[0])
    peer.at.send(Frame((frame + bytes(9),)))
    peer.sent = 1
    peer.send(b"y")
    assert line.recv(2, socket.MSG_WAITALL) == b"xy"


# Ends


def test_each_side_may_end_first_and_still_get_all(pair: tuple[Peer, socket.socket]) -> None:
    peer, line = pair
    peer.send(b"question")
    peer.finish()
    assert line.recv(100) == b"question"
    assert line.recv(100) == b""
    peer.take()
    assert peer.acknowledged == 9
    line.sendall(b"answer")
    line.close()
    peer.at.until(lambda: (peer.take(), peer.finished)[-1])
    assert peer.got == b"answer"
    peer.acknowledge()
    assert not peer.reset


def test_the_host_may_end_first(pair: tuple[Peer, socket.socket]) -> None:
    peer, line = pair
    line.shutdown(socket.SHUT_WR)
    peer.at.until(lambda: (peer.take(), peer.finished)[-1])
    peer.send(b"last words")
    peer.finish()
    assert line.recv(100) == b"last words"
    assert line.recv(100) == b""
    peer.take()
    assert peer.acknowledged == 11


def test_a_last_word_that_was_lost_is_said_again(at: Plugged, server: Listener) -> None:
    peer = Peer(at, server.port)
    peer.connect()
    with server.accept() as line:
        line.close()
    at.until(lambda: (peer.take(), peer.finished)[-1])
    peer.finish()
    peer.take()  # lost, as it were
    peer.acknowledged = 0
    at.send(peer.frame(ACK | FIN, peer.sent - 1))
    [told] = peer.take()
    assert told.flags == ACK
    assert peer.acknowledged == 1


def test_a_port_that_was_used_may_be_used_again_at_once(at: Plugged, server: Listener) -> None:
    for sequence in (1000, 500, 90_000):
        peer = Peer(at, server.port, sequence=sequence)
        peer.connect()
        with server.accept() as line:
            peer.send(b"%d" % sequence)
            assert line.recv(100) == b"%d" % sequence
        at.until(lambda peer=peer: (peer.take(), peer.finished)[-1])  # type: ignore[misc]
        peer.finish()
        peer.take()


def test_a_reset_of_the_guest_is_one_at_the_host(pair: tuple[Peer, socket.socket]) -> None:
    peer, line = pair
    peer.at.send(peer.frame(RST, 0))
    with pytest.raises(ConnectionResetError):
        line.recv(100)


def test_a_reset_of_the_host_is_one_at_the_guest_behind_the_data(
    pair: tuple[Peer, socket.socket],
) -> None:
    peer, line = pair
    reset(line)
    peer.at.until(lambda: (peer.take(), peer.reset)[-1])


def test_data_for_a_host_that_has_gone_is_answered_by_a_reset(
    pair: tuple[Peer, socket.socket],
) -> None:
    peer, line = pair
    line.close()
    peer.at.until(lambda: (peer.take(), peer.finished)[-1])

    def send() -> bool:
        if not peer.reset:
            peer.send(b"data")
        peer.take()
        return peer.reset

    peer.at.until(send)


def test_a_reset_at_a_wrong_place_is_none(pair: tuple[Peer, socket.socket]) -> None:
    peer, line = pair
    peer.at.send(peer.frame(RST, 5))
    [challenge] = peer.take()
    assert challenge.flags == ACK
    peer.send(b"goes on")
    assert line.recv(100) == b"goes on"


def test_a_syn_in_the_middle_is_none(pair: tuple[Peer, socket.socket]) -> None:
    peer, line = pair
    peer.at.send(peer.frame(SYN, 5))
    assert [each.flags for each in peer.take()] == [ACK]
    peer.send(b"goes on")
    assert line.recv(100) == b"goes on"


def test_an_acknowledgement_of_what_was_never_sent_changes_nothing(
    pair: tuple[Peer, socket.socket],
) -> None:
    peer, line = pair
    ahead = peer.next_expected + 1000
    peer.at.send(peer.frame(ACK | PSH, 0, b"wrong", acknowledged=ahead))
    assert [each.flags for each in peer.take()] == [ACK]
    peer.send(b"right")
    assert line.recv(100) == b"right"


def test_segments_of_no_connection_are_answered_by_resets(at: Plugged) -> None:
    peer = Peer(at, 80)
    at.send(peer.frame(ACK, 0, b"data", acknowledged=777))
    [told] = peer.take()
    assert (told.flags, told.sequence) == (RST, 777)
    at.send(peer.frame(FIN, 0, b"data", acknowledged=0))
    [told] = peer.take()
    assert (told.flags, told.acknowledged) == (RST | ACK, peer.base + 5)
    at.send(peer.frame(RST, 0), peer.frame(RST | ACK, 0))
    assert not peer.take()


# What cannot be reached


@pytest.mark.parametrize("there", ["10.0.2.2", "fec0::2"])
def test_a_port_at_which_nobody_listens_refuses(at: Plugged, there: str) -> None:
    peer = Peer(at, closed_port(), there=there)
    peer.ask()
    at.until(peer.answered)
    [told] = peer.segments
    assert (told.flags, told.sequence, told.acknowledged) == (RST | ACK, 0, peer.base)


def test_an_address_on_the_link_where_nobody_is_cannot_be_reached(at: Plugged) -> None:
    peer = Peer(at, 80, there="10.0.2.77")
    peer.ask()
    [answer] = at.received()
    checked(answer)
    assert (answer[ICMP].type, answer[ICMP].code) == (3, 1)
    assert (answer[TCPerror].sport, answer[TCPerror].seq) == (40000, 1000)
    assert (answer[IP].src, answer["IP in ICMP"].dst) == ("10.0.2.2", "10.0.2.77")


def test_nor_can_one_of_ipv6(at: Plugged) -> None:
    peer = Peer(at, 80, there="fec0::77")
    at.send(Ether(bytes(peer.frame(SYN, -1).pieces[0])))
    at.received()  # it asks where the guest is
    at.network._link.learn(bytes.fromhex("fec0000000000000") + bytes(7) + b"\x15", bytes(6))
    peer.ask()
    [answer] = at.received()
    assert (answer[ICMPv6DestUnreach].type, answer[ICMPv6DestUnreach].code) == (1, 3)


@pytest.mark.parametrize("there", ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1"])
def test_the_hosts_own_addresses_are_not_reached_by_their_names(
    at: Plugged, server: Listener, there: str
) -> None:
    for name in (there, "::ffff:127.0.0.1", "::127.0.0.1"):
        peer = Peer(at, server.port, there=name)
        peer.ask()
        at.turns()
        peer.take()
        assert peer.start is None


def test_a_restricted_network_refuses_all(server: Listener) -> None:
    with plugged(("restrict", "on")) as at:
        for there in ("10.0.2.2", "198.51.100.1", "10.0.2.3"):
            peer = Peer(at, server.port, there=there)
            peer.ask()
            assert [each.flags for each in peer.take()] == [RST | ACK]


# Windows and lost segments


def test_a_closed_window_is_respected_and_asked_about() -> None:
    clock = VirtualClock()
    with plugged(clock=clock) as at, Listener() as server:
        peer = Peer(at, server.port)
        peer.window = 0
        peer.connect()
        with server.accept() as line:
            line.sendall(b"0123456789")
            at.turns(20)
            assert not peer.take()
            for _ in range(20):
                clock.advance(70 * SECOND)
                assert {each.data for each in peer.take()} == {b"0"}  # which finds no room
                peer.got.clear()
                peer.acknowledge()
            assert not peer.reset
            peer.window = 100
            peer.acknowledge()
            at.turns()
            at.until(lambda: (peer.take(), len(peer.got) == 10)[-1])
            assert peer.got == b"0123456789"


def test_no_more_than_the_window_is_under_way(at: Plugged, server: Listener) -> None:
    peer = Peer(at, server.port)
    peer.window = 20  # of 128 bytes each
    peer.connect()
    with server.accept() as line:
        line.sendall(bytes(100_000))
        while len(peer.got) < 100_000:
            before = len(peer.got)
            at.until(peer.take)
            assert len(peer.got) <= before + 20 * 128
            peer.acknowledge()


def test_a_guest_is_slowed_down_by_a_host_that_does_not_read(at: Plugged, server: Listener) -> None:
    peer = Peer(at, server.port)
    peer.connect()
    chunk, most = bytes(1000), 64 << 20
    with server.accept() as line:
        while peer.sent < most:
            edge = peer.acknowledged + (peer.segments[-1].window << 5)
            if peer.sent + len(chunk) > edge:
                break
            peer.send(chunk)
            peer.take()
        assert peer.sent < most, "the window never closes"
        assert peer.acknowledged == peer.sent
        total = peer.sent
        count = 0

        def read() -> bool:
            nonlocal count
            line.settimeout(0.001)
            with contextlib.suppress(TimeoutError):
                count += len(line.recv(1 << 20))
            return count == total

        at.until(read)
        peer.take()
        assert peer.segments[-1].window << 5 == 1 << 20, "it is told that the window is open again"


def test_what_is_lost_is_sent_again_after_a_time() -> None:
    clock = VirtualClock()
    with plugged(clock=clock) as at, Listener() as server:
        peer = Peer(at, server.port)
        peer.connect()
        with server.accept() as line:
            line.sendall(b"data")
            at.until(lambda: at.cable.frames)
            times = []
            for _ in range(4):
                assert peer.take(lose=-1) == []
                waited = 0
                while not at.cable.frames:
                    clock.advance(SECOND // 10)
                    waited += 1
                times.append(waited)
            assert times == sorted(times)
            assert times[-1] > 2 * times[0]
            peer.take()
            assert peer.got == b"data"


def test_three_acknowledgements_of_the_same_bring_it_at_once(
    pair: tuple[Peer, socket.socket],
) -> None:
    peer, line = pair
    line.sendall(b"lost")
    peer.at.until(lambda: peer.at.cable.frames)
    peer.take(lose=1)
    for _ in range(3):
        assert not peer.take()
        peer.acknowledge()
    peer.take()
    assert peer.got == b"lost"


def test_a_guest_that_says_nothing_for_long_has_gone() -> None:
    clock = VirtualClock()
    with plugged(clock=clock) as at, Listener() as server:
        peer = Peer(at, server.port)
        peer.connect()
        with server.accept() as line:
            line.sendall(b"data")
            at.until(lambda: at.cable.frames)
            clock.advance(3600 * SECOND)
            with pytest.raises(ConnectionResetError):
                line.recv(100)


def test_segments_for_which_the_guest_has_no_room_wait(at: Plugged, server: Listener) -> None:
    peer = Peer(at, server.port)
    peer.connect()
    data = bytes(range(256)) * 4000
    with server.accept() as line:
        line.setblocking(False)
        at.cable.room = 0
        given = line.send(data)
        at.turns(10)
        assert not at.cable.frames
        while len(peer.got) < given:
            at.cable.room = 1
            at.network.resume()
            at.turns()
            peer.take()
            at.cable.room = 1
            peer.acknowledge()
        assert peer.got == data[:given]


def test_an_offload_nobody_asked_for_is_not_given(at: Plugged, server: Listener) -> None:
    peer = Peer(at, server.port)
    peer.connect()
    assert all(each.segmentation == PLAIN.segmentation for each in at.cable.offloads)
