"""Files, pseudo-terminals and sockets as far ends of a line."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bimetal.backends.chars.choose import open_chars
from bimetal.backends.chars.file import FileSink
from bimetal.backends.chars.null import NoChars
from bimetal.backends.chars.pty import Pty
from bimetal.backends.chars.server import Server
from bimetal.backends.reactor import Reactor
from bimetal.base.errors import BimetalError
from tests.backends.chars.test_queues import Fifo


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor()
    yield reactor
    reactor.close()


def turn_until(reactor: Reactor, condition: Callable[[], bool]) -> None:
    """Let the reactor work until ``condition`` holds; the kernel delivers at once or soon."""
    for _ in range(1000):
        if condition():
            return
        reactor.turn(0.01)
    raise AssertionError("it never came true")


def test_a_file_is_emptied_and_then_filled(tmp_path: Path, reactor: Reactor) -> None:
    path = tmp_path / "serial.log"
    path.write_bytes(b"an older and longer log")
    line = open_chars(f"file:{path}")
    line.attach(reactor)
    line.write(b"one ")
    line.write(b"two")
    line.close()
    line.close()
    assert path.read_bytes() == b"one two"


@pytest.mark.parametrize("where", ["missing/serial.log", "."])
def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path, where: str) -> None:
    with pytest.raises(BimetalError, match="cannot write the output file"):
        FileSink(str(tmp_path / where))


def test_a_full_device_is_an_event_and_no_error() -> None:
    line = FileSink("/dev/full")
    line.write(b"lost")
    assert line._channel.outbox is not None
    assert line._channel.outbox.dropped == 4
    line.close()


def test_a_pty_carries_every_byte_both_ways(reactor: Reactor) -> None:
    line, fifo = Pty(), Fifo(1000)
    line.connect(fifo.receive, fifo.room)
    line.attach(reactor)
    person = os.open(line.path, os.O_RDWR | os.O_NOCTTY)
    everything = bytes(range(256))
    os.write(person, everything)
    turn_until(reactor, lambda: len(fifo.held) == 256)
    assert fifo.held == everything
    line.write(everything)
    got = b""
    while len(got) < 256:
        got += os.read(person, 256)
    assert got == everything
    os.close(person)
    reactor.turn()
    line.write(b"nobody there\n")
    line.close()
    line.close()


def test_a_pty_that_nobody_reads_holds_nobody_up(reactor: Reactor) -> None:
    line = Pty()
    line.attach(reactor)
    for _ in range(40):
        line.write(b"x" * (64 << 10))
        reactor.turn()
    assert line._channel.outbox is not None
    assert line._channel.outbox.dropped > 0
    line._channel.outbox._waiting.clear()
    line.close()


def test_a_late_reader_of_a_pty_sees_the_newest_output(reactor: Reactor) -> None:
    line = Pty()
    line.attach(reactor)
    for number in range(300_000):
        line.write(b"%06d " % number)
    line.write(b"end")
    person = os.open(line.path, os.O_RDONLY | os.O_NOCTTY)
    got = b""
    while not got.endswith(b"end"):
        reactor.turn()
        got += os.read(person, 1 << 16)
    numbers = [int(word) for word in got[:-3].split()[1:]]
    assert numbers == [*range(numbers[0], 300_000)]
    assert len(numbers) > 100_000
    os.close(person)
    line.close()


def test_input_goes_on_after_output_had_to_wait(server: Server, reactor: Reactor) -> None:
    fifo = Fifo(100)
    server.connect(fifo.receive, fifo.room)
    client = dial(server)
    turn_until(reactor, lambda: server.connected)
    server.write(bytes(10 << 20))
    assert server._channel is not None
    outbox = server._channel.outbox
    assert outbox is not None
    assert outbox._waiting
    client.setblocking(False)

    def read_all() -> bool:
        with contextlib.suppress(BlockingIOError):
            client.recv(1 << 20)
        return not outbox._waiting

    turn_until(reactor, read_all)
    client.sendall(b"hello")
    turn_until(reactor, lambda: fifo.held == b"hello")
    client.close()
    turn_until(reactor, lambda: not server.connected)


def dial(server: Server) -> socket.socket:
    if isinstance(server.address, str):
        client = socket.socket(socket.AF_UNIX)
        client.connect(server.address)
        return client
    return socket.create_connection(server.address)


@pytest.fixture(params=["unix", "tcp"])
def server(request: pytest.FixtureRequest, tmp_path: Path, reactor: Reactor) -> Iterator[Server]:
    where = f"{tmp_path}/line" if request.param == "unix" else "127.0.0.1:0"
    server = open_chars(f"{request.param}:{where}")
    assert isinstance(server, Server)
    server.attach(reactor)
    yield server
    server.close()
    server.close()
    assert not (tmp_path / "line").exists()


def test_a_client_talks_to_the_guest(server: Server, reactor: Reactor) -> None:
    fifo = Fifo(100)
    server.connect(fifo.receive, fifo.room)
    client = dial(server)
    client.sendall(b"hello")
    turn_until(reactor, lambda: fifo.held == b"hello")
    server.write(b"welcome")
    assert client.recv(100) == b"welcome"
    client.close()
    turn_until(reactor, lambda: not server.connected)


def test_the_second_client_waits_for_the_first_to_leave(server: Server, reactor: Reactor) -> None:
    fifo = Fifo(100)
    server.connect(fifo.receive, fifo.room)
    first, second = dial(server), dial(server)
    first.sendall(b"1")
    second.sendall(b"2")
    turn_until(reactor, lambda: fifo.held == b"1")
    reactor.turn()
    assert fifo.held == b"1"
    first.close()
    turn_until(reactor, lambda: fifo.held == b"12")
    second.close()


def test_a_sender_feels_a_guest_that_does_not_read(server: Server, reactor: Reactor) -> None:
    fifo = Fifo(16)
    server.connect(fifo.receive, fifo.room)
    client = dial(server)
    client.setblocking(False)
    data, sent, got, blocked = os.urandom(8 << 20), 0, b"", False
    while not blocked:
        try:
            sent += client.send(data[sent : sent + 65536])
        except BlockingIOError:
            before = server._inbox.space
            reactor.turn()
            blocked = server._inbox.space == before == 0
    assert len(fifo.held) == 16
    fifo.size = 1 << 20
    while len(got) < sent:
        server.resume()
        reactor.turn(0.01)
        got += fifo.take()
    assert got == data[:sent]
    client.close()


def test_a_client_that_does_not_read_holds_nobody_up(server: Server, reactor: Reactor) -> None:
    client = dial(server)
    turn_until(reactor, lambda: server.connected)
    for _ in range(200):
        server.write(b"x" * (64 << 10))
    assert server._channel is not None
    assert server._channel.outbox is not None
    assert server._channel.outbox.dropped > 0
    client.close()
    turn_until(reactor, lambda: not server.connected)


def test_a_client_that_vanishes_makes_room_for_the_next(server: Server, reactor: Reactor) -> None:
    client = dial(server)
    turn_until(reactor, lambda: server.connected)
    client.close()
    for _ in range(3):
        server.write(b"into the void")
    turn_until(reactor, lambda: not server.connected)
    again = dial(server)
    turn_until(reactor, lambda: server.connected)
    server.write(b"hi")
    assert again.recv(100).endswith(b"hi")
    again.close()


def test_who_dials_in_late_sees_the_newest_output(server: Server, reactor: Reactor) -> None:
    server.write(b"the beginning")
    for number in range(300_000):
        server.write(b"%06d " % number)
    client = dial(server)
    turn_until(reactor, lambda: server.connected)
    server.write(b"now")
    got = b""
    while not got.endswith(b"now"):
        reactor.turn()
        got += client.recv(1 << 20)
    numbers = [int(word) for word in got[:-3].split()[1:]]
    assert numbers[-1] == 299_999
    assert len(numbers) > 100_000
    assert numbers == [*range(numbers[0], 300_000)]
    client.close()
    turn_until(reactor, lambda: not server.connected)


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "line")
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(path)
    server = Server.unix(path)
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    with pytest.raises(BimetalError, match="in use"):
        Server.unix(path)
    server.close()


def test_no_other_file_is_replaced_by_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(BimetalError, match="is no socket"):
        Server.unix(str(path))
    assert path.read_text() == "data"


def test_a_port_in_use_is_an_error() -> None:
    server = Server.tcp("127.0.0.1", 0)
    port = server.address[1]
    with pytest.raises(BimetalError, match="cannot listen at tcp"):
        open_chars(f"tcp:127.0.0.1:{port}")
    server.close()


def test_no_host_means_this_host_only() -> None:
    server = open_chars("tcp::0")
    assert isinstance(server, Server)
    assert server.address[0] == "127.0.0.1"
    server.close()


@pytest.mark.parametrize(
    "name",
    ["", "stdout", "file:", "file", "unix:", "tcp:", "tcp:host", "tcp:1:x", "tcp:h:65536", "pty:x"],
)
def test_names_that_mean_nothing_are_errors(name: str) -> None:
    with pytest.raises(BimetalError):
        open_chars(name)


def test_none_takes_everything() -> None:
    line = open_chars("none")
    assert isinstance(line, NoChars)
    line.write(b"x")
    line.close()
