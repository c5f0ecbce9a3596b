"""Cables over streams: QEMU's form on the wire, connections that come and go, and full sockets."""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimetal.backends.net.choose import open_network
from bimetal.backends.net.framed import FramedStream
from bimetal.backends.net.stream import Stream
from bimetal.backends.reactor import Reactor
from bimetal.base.errors import BimetalError
from bimetal.base.frames import FRAME_LIMIT, Frame
from bimetal.base.log import EventLog
from tests.backends.net.station import Station, turn_until


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    yield made
    made.close()


def framed(frame: bytes) -> bytes:
    return struct.pack(">I", len(frame)) + frame


def frame(number: int, length: int = 60) -> bytes:
    return random.Random(number).randbytes(length)


def stream(*words: tuple[str, str]) -> Stream:
    made = open_network("stream", words)
    assert isinstance(made, Stream)
    return made


class Wire:
    """A connection whose far end is a plain socket."""

    def __init__(self, reactor: Reactor):
        mine, self.far = socket.socketpair()
        self.network = Stream("test", sock=mine)
        self.station = Station(self.network, reactor)
        self.reactor = reactor

    def read(self, count: int) -> bytes:
        self.far.settimeout(10)
        data = b""
        while len(data) < count:
            self.reactor.turn()
            data += self.far.recv(count - len(data))
        return data

    def close(self) -> None:
        self.network.close()
        self.far.close()


@pytest.fixture
def wire(reactor: Reactor) -> Iterator[Wire]:
    made = Wire(reactor)
    yield made
    made.close()


def test_each_frame_has_its_length_before_it(wire: Wire) -> None:
    wire.station.send(frame(1), frame(2, 1514))
    assert wire.read(64 + 1518) == framed(frame(1)) + framed(frame(2, 1514))
    wire.far.sendall(framed(frame(3)) + framed(b"runt") + framed(b"") + framed(frame(4, 9000)))
    turn_until(wire.reactor, lambda: len(wire.station.frames) == 2)
    assert wire.station.frames == [frame(3), frame(4, 9000)]


def test_a_frame_may_come_in_any_pieces(wire: Wire) -> None:
    data = framed(frame(1)) + framed(frame(2))
    for byte in data:
        wire.far.sendall(bytes((byte,)))
        wire.reactor.turn()
    assert wire.station.frames == [frame(1), frame(2)]


def test_a_cable_may_be_put_into_another_port(wire: Wire, reactor: Reactor) -> None:
    """As a cable is that is pulled out for a while, see `PulledOut`."""
    wire.far.sendall(framed(frame(1)))
    turn_until(reactor, lambda: bool(wire.station.frames))
    other = Station(wire.network)
    assert other.link
    wire.far.sendall(framed(frame(2)))
    turn_until(reactor, lambda: bool(other.frames))
    wire.far.close()
    turn_until(reactor, lambda: not other.link)
    assert (wire.station.frames, wire.station.link) == ([frame(1)], True)
    assert not Station(wire.network).link


def test_a_guest_without_room_stops_the_far_end(wire: Wire) -> None:
    wire.station.room = 1
    wire.far.setblocking(False)
    sent = 0
    for _ in range(10_000):
        try:
            sent += wire.far.send(framed(frame(7, 1514)) * 10)
        except BlockingIOError:
            break
        wire.reactor.turn()
    else:
        raise AssertionError("the far end never felt it")
    assert len(wire.station.frames) == 1
    complete = sent // 1518
    while len(wire.station.frames) < complete:
        wire.station.make_room(100)
        wire.reactor.turn()
    assert set(wire.station.frames) == {frame(7, 1514)}


def test_a_far_end_that_does_not_read_stops_the_guest(wire: Wire) -> None:
    frames = [frame(number % 50, 14 + 29 * (number % 50)) for number in range(3000)]
    wire.station.send(*frames)
    assert wire.station.waiting, "a socket holds less than all this"
    expected = b"".join(map(framed, frames))
    assert wire.read(len(expected)) == expected
    assert wire.station.waiting == []
    assert wire.station.woken > 0


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(14, 5000), max_size=40),
    cuts=st.lists(st.integers(1, 3000), min_size=1, max_size=40),
    rooms=st.lists(st.integers(0, 5), max_size=60),
)
def test_whatever_the_pieces_and_the_room(
    lengths: list[int], cuts: list[int], rooms: list[int]
) -> None:
    reactor = Reactor()
    wire = Wire(reactor)
    wire.station.room = 0
    frames = [frame(number, length) for number, length in enumerate(lengths)]
    data = b"".join(map(framed, frames))
    wire.far.setblocking(False)
    number = 0
    while data:
        try:
            data = data[wire.far.send(data[: cuts[number % len(cuts)]]) :]
        except BlockingIOError:  # a socket holds few pieces if they are small
            wire.station.make_room(1)
        reactor.turn()
        if number < len(rooms):
            wire.station.make_room(rooms[number])
        number += 1
    wire.station.make_room(None)
    for _ in range(3):
        reactor.turn()
    assert wire.station.frames == frames
    wire.close()
    reactor.close()


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_a_hostile_far_end(junk: list[bytes]) -> None:
    reactor = Reactor()
    wire = Wire(reactor)
    for piece in junk:
        try:
            wire.far.sendall(piece)
        except OSError:
            break
        reactor.turn()
    assert all(14 <= len(data) <= FRAME_LIMIT for data in wire.station.frames)
    wire.close()
    reactor.close()


def test_what_is_no_frame_ends_the_connection(wire: Wire) -> None:
    wire.far.sendall(framed(frame(1)) + struct.pack(">I", FRAME_LIMIT + 1))
    turn_until(wire.reactor, lambda: not wire.station.link)
    assert wire.station.frames == [frame(1)]
    assert wire.far.recv(1) == b""


def test_the_longest_frame_goes_through(wire: Wire) -> None:
    data = frame(1, FRAME_LIMIT)
    wire.far.settimeout(10)
    wire.station.send(data)
    assert wire.read(4 + FRAME_LIMIT) == framed(data)
    rest = framed(data)
    wire.far.setblocking(False)
    while rest:
        rest = rest[wire.far.send(rest) :]
        wire.reactor.turn()
    turn_until(wire.reactor, lambda: wire.station.frames == [data])


def test_a_frame_of_very_many_pieces(reactor: Reactor) -> None:
    mine, far = socket.socketpair()
    mine.setblocking(False)
    made = FramedStream(mine, Station(Stream("none")), EventLog("test"), lambda: None)
    made.attach(reactor)
    pieces = [bytes((number % 256,)) for number in range(3000)]
    assert made.send([Frame(pieces), Frame(pieces[:900]), Frame(pieces[:900])]) == 3
    expected = b"".join(framed(b"".join(each)) for each in (pieces, pieces[:900], pieces[:900]))
    far.settimeout(10)
    got = b""
    while len(got) < len(expected):
        got += far.recv(65536)
    assert got == expected
    made.detach()
    mine.close()
    far.close()


# Connections


def two(reactor: Reactor, first: Stream, second: Stream) -> tuple[Station, Station]:
    """Two machines at one cable, with the link up."""
    ends = Station(first, reactor), Station(second, reactor)
    turn_until(reactor, lambda: ends[0].link and ends[1].link)
    return ends


def talk(reactor: Reactor, ends: tuple[Station, Station]) -> None:
    for here, there in (ends, ends[::-1]):
        there.received.clear()
        here.send(frame(1), frame(2, 1514))
        turn_until(reactor, lambda there=there: len(there.frames) == 2)  # type: ignore[misc]
        assert there.frames == [frame(1), frame(2, 1514)]


def test_tcp(reactor: Reactor) -> None:
    listener = stream(("listen", "127.0.0.1:0"))
    port = listener.address[1]
    caller = stream(("connect", f"127.0.0.1:{port}"))
    talk(reactor, two(reactor, listener, caller))
    listener.close()
    caller.close()


def test_unix_sockets_in_the_words_of_qemu(reactor: Reactor, tmp_path: Path) -> None:
    path = str(tmp_path / "cable")
    listener = stream(("server", "on"), ("addr.type", "unix"), ("addr.path", path))
    caller = stream(("server", "off"), ("addr.type", "unix"), ("addr.path", path))
    talk(reactor, two(reactor, listener, caller))
    listener.close()
    caller.close()
    assert not os.path.exists(path)


def test_a_descriptor(reactor: Reactor) -> None:
    mine, far = socket.socketpair()
    ends = two(reactor, stream(("fd", str(mine.detach()))), Stream("far", sock=far))
    talk(reactor, ends)
    for end in ends:
        end.network.close()


def test_the_link_follows_the_connection(reactor: Reactor, tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'cable'}"
    listener = stream(("listen", address))
    here = Station(listener, reactor)
    assert not here.link
    here.send(frame(1))
    assert here.waiting == [], "what nobody hears is lost, as on any cable"
    caller = stream(("connect", address), ("reconnect", "1"))
    there = Station(caller, reactor)
    turn_until(reactor, lambda: here.link and there.link)
    talk(reactor, (here, there))
    caller.close()
    turn_until(reactor, lambda: not here.link)
    another = stream(("connect", address))
    there = Station(another, reactor)
    turn_until(reactor, lambda: here.link and there.link)
    talk(reactor, (here, there))
    another.close()
    listener.close()


def test_who_waits_for_a_far_end_that_leaves_goes_on(wire: Wire) -> None:
    wire.station.send(*(frame(1, 1514) for _ in range(3000)))
    assert wire.station.waiting
    wire.far.close()
    turn_until(wire.reactor, lambda: not wire.station.waiting)
    assert not wire.station.link


def test_a_call_is_repeated_until_somebody_answers(reactor: Reactor, tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'cable'}"
    here = Station(stream(("connect", address), ("reconnect", "1")), reactor)
    assert not here.link
    there = Station(stream(("listen", address)), reactor)
    turn_until(reactor, lambda: here.link and there.link)
    for end in (here, there):
        end.network.close()


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ([("connect", "127.0.0.1:1")], "nobody answers at 127.0.0.1:1"),
        ([("connect", "unix:/nowhere/cable")], "nobody answers at unix:/nowhere/cable"),
        ([("listen", "unix:/nowhere/cable")], "cannot listen"),
        ([("listen", "127.0.0.1:x")], "is no address"),
        ([("listen", "::1:80")], "is no address"),
        ([("connect", "no.such.host.invalid:80")], "not known"),
        ([("fd", "99999")], "no connected stream socket"),
        ([("fd", "0x1")], "fd=0x1 is not right"),
        ([], "none of listen=, connect= or fd="),
        ([("listen", ":0"), ("connect", ":0")], "more than one"),
        ([("listen", ":0"), ("liste", "on")], "'liste' means nothing"),
        ([("server", "on")], "without an address"),
        ([("server", "maybe"), ("listen", ":0")], "server=maybe is not right"),
        ([("addr.type", "inet"), ("addr.path", "x")], "no whole address"),
        ([("addr.type", "unix"), ("listen", ":0")], "no whole address"),
        ([("reconnect", "-1"), ("connect", ":1")], "reconnect=-1 is not right"),
    ],
)
def test_errors(words: list[tuple[str, str]], cause: str) -> None:
    with pytest.raises(BimetalError, match=cause) as caught:
        open_network("stream", words)
    assert caught.value.remedy


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BimetalError, match=f"cannot listen at tcp:127.0.0.1:{port}"):
            stream(("listen", f"127.0.0.1:{port}"))


def test_a_path_that_is_a_file_of_the_user_stays(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(BimetalError, match="exists and is no socket"):
        stream(("listen", f"unix:{path}"))
    assert path.read_text() == "data"
