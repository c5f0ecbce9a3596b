"""Cables of datagrams, and hubs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal.backends.net.choose import open_network
from bimetal.backends.net.dgram import Datagrams
from bimetal.backends.reactor import Reactor
from bimetal.base.errors import BimetalError
from tests.backends.net.station import Station, turn_until
from tests.backends.net.test_stream import frame


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    yield made
    made.close()


def dgram(**words: str) -> Datagrams:
    made = open_network("dgram", [(name.replace("_", "."), text) for name, text in words.items()])
    assert isinstance(made, Datagrams)
    return made


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_udp(reactor: Reactor) -> None:
    first, second = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    here = Station(dgram(local=first, remote=second), reactor)
    here.send(frame(9))  # nobody is there yet
    there = Station(dgram(local=second, remote=first), reactor)
    here.send(frame(1), frame(2, 1514), b"runt")
    turn_until(reactor, lambda: len(there.frames) == 2)
    assert there.frames == [frame(1), frame(2, 1514)]
    there.send(frame(3))
    turn_until(reactor, lambda: here.frames == [frame(3)])
    for end in (here, there):
        end.network.close()


def test_unix_sockets_in_the_words_of_qemu(reactor: Reactor, tmp_path: Path) -> None:
    first, second = str(tmp_path / "1"), str(tmp_path / "2")
    (tmp_path / "1").unlink(missing_ok=True)
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    stale.bind(first)
    stale.close()  # as after a crash: the file is still there
    words = {"local_type": "unix", "remote_type": "unix"}
    here = Station(dgram(**words, local_path=first, remote_path=second), reactor)
    here.send(frame(9))
    there = Station(dgram(**words, local_path=second, remote_path=first), reactor)
    here.send(*(frame(number) for number in range(1000)))
    assert here.waiting, "a socket holds less than all this"
    turn_until(reactor, lambda: len(there.frames) == 1000)
    assert there.frames == [frame(number) for number in range(1000)]
    for end in (here, there):
        end.network.close()
    assert list(tmp_path.iterdir()) == []


def test_a_guest_without_room_leaves_frames_in_the_socket(reactor: Reactor, tmp_path: Path) -> None:
    first, second = f"unix:{tmp_path / '1'}", f"unix:{tmp_path / '2'}"
    here = Station(dgram(local=first, remote=second), reactor)
    there = Station(dgram(local=second, remote=first), reactor)
    there.room = 0
    here.send(*(frame(number) for number in range(3000)))
    for _ in range(20):
        reactor.turn()
    assert len(here.waiting) > 2500
    there.make_room(None)
    turn_until(reactor, lambda: len(there.frames) == 3000)
    assert there.frames == [frame(number) for number in range(3000)]
    for end in (here, there):
        end.network.close()


def test_on_a_hub_everybody_hears_the_others_and_nobody_itself(reactor: Reactor) -> None:
    address = f"239.255.77.1:{free_port()}"
    words = [("mcast", address), ("localaddr", "127.0.0.1")]
    ends = [Station(open_network("socket", words), reactor) for _ in range(3)]
    ends[0].send(frame(1))
    turn_until(reactor, lambda: ends[1].frames == ends[2].frames == [frame(1)])
    ends[2].send(frame(2))
    turn_until(reactor, lambda: len(ends[0].frames) == 1 and len(ends[1].frames) == 2)
    assert ends[0].frames == [frame(2)]
    assert ends[2].frames == [frame(1)]
    for end in ends:
        end.network.close()


@pytest.mark.parametrize(
    ("kind", "words", "cause"),
    [
        ("dgram", {"local": "127.0.0.1:0"}, "no two ends"),
        ("dgram", {}, "no two ends"),
        ("dgram", {"local": "127.0.0.1:0", "remote": "unix:/tmp/x"}, "two kinds"),
        ("dgram", {"local": "192.0.2.1:0", "remote": "127.0.0.1:1"}, "cannot receive at"),
        ("dgram", {"local": "unix:/nowhere/x", "remote": "unix:/nowhere/y"}, "cannot receive at"),
        ("socket", {"mcast": "10.0.0.1:1"}, "no multicast group"),
        ("socket", {"udp": "10.0.0.1:1"}, "localaddr="),
        ("socket", {}, "none of listen="),
    ],
)
def test_errors(kind: str, words: dict[str, str], cause: str) -> None:
    with pytest.raises(BimetalError, match=cause) as caught:
        open_network(kind, list(words.items()))
    assert caught.value.remedy
