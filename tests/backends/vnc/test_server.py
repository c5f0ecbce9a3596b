"""Clients that are odd, slow or hostile; and those that come by a WebSocket."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from bimetal.backends.listening import listen_unix
from bimetal.backends.vnc import server as module
from bimetal.backends.vnc.channel import tls_context
from bimetal.backends.vnc.hello import Access
from bimetal.backends.vnc.password import Password
from bimetal.backends.vnc.server import Door, VncServer
from bimetal.base.errors import BimetalError
from tests.backends.vnc.served import LIMIT, Desk, picture, port_of, served, until

RAW, ZRLE = 0, 16


class Plain:
    """A client that says what a test says."""

    def __init__(self, server: VncServer, *, hello: bool = True):
        self.socket = socket.create_connection(("127.0.0.1", port_of(server)), LIMIT)
        self.file = self.socket.makefile("rb")
        assert self.read(12) == b"RFB 003.008\n"
        if hello:
            self.say(b"RFB 003.008\n")
            assert self.read(2) == b"\1\1"
            self.say(b"\1")
            assert self.read(4) == bytes(4)
            self.say(b"\1")
            self.width, self.height = struct.unpack(">HH", self.read(4))
            (length,) = struct.unpack(">16xI", self.read(20))
            self.name = self.read(length).decode()

    def say(self, *pieces: bytes) -> None:
        self.socket.sendall(b"".join(pieces))

    def read(self, length: int) -> bytes:
        return self.file.read(length)

    def ask(self, incremental: bool = False) -> None:
        self.say(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))

    def encodings(self, *numbers: int) -> None:
        self.say(struct.pack(f">BxH{len(numbers)}i", 2, len(numbers), *numbers))

    def rectangles(self) -> int:
        """Begin to read an update: how many rectangles follow."""
        kind, count = struct.unpack(">BxH", self.read(4))
        assert kind == 0
        return int(count)

    def is_told_goodbye(self) -> bool:
        return self.read(1) == b""

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@pytest.mark.parametrize(("version", "minor"), [(b"RFB 003.003\n", 3), (b"RFB 003.007\n", 7)])
def test_older_versions(version: bytes, minor: int) -> None:
    with served(Desk()) as server:
        client = Plain(server, hello=False)
        client.say(version)
        if minor == 3:
            assert client.read(4) == b"\0\0\0\1"
        else:
            assert client.read(2) == b"\1\1"
            client.say(b"\1")
        client.say(b"\0")
        assert struct.unpack(">HH", client.read(4)) == (333, 217)
        client.close()


def test_a_wrong_password_is_told_in_words() -> None:
    with served(Desk(), Access(Password("secret"))) as server:
        client = Plain(server, hello=False)
        client.say(b"RFB 003.008\n")
        assert client.read(2) == b"\1\2"
        client.say(b"\2")
        client.read(16)
        client.say(bytes(16))
        assert client.read(8) == b"\0\0\0\1\0\0\0\x0e"
        assert client.read(14) == b"wrong password"
        assert client.is_told_goodbye()
        client.close()


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"RFB 009.008\n",
        b"RFB 003.008\n\2",
        b"RFB 003.008\n\1\1\x63",  # an unknown message
        b"RFB 003.008\n\1\1\2\0\xff\xff",  # too many encodings
        b"RFB 003.008\n\1\1\6\0\0\0\x7f\xff\xff\xff",  # a clipboard of 2 GiB
        b"RFB 003.008\n\1\1\0\0\0\0" + bytes(16),  # pixels without bits
        b"RFB 003.008\n\1\1\xff\0" + bytes(10),  # a message of QEMU's that was not offered
        b"RFB 003.008\n\1\1\xfb\0\1\0\1\0\0\0",  # a size, likewise
    ],
)
def test_who_breaks_the_protocol_is_gone(said: bytes) -> None:
    with served(Desk()) as server:
        client = Plain(server, hello=False)
        client.say(said)
        until(lambda: not server.clients)
        client.close()


def test_who_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELLO_SECONDS", 0)
    with served(Desk()) as server:
        client = socket.create_connection(("127.0.0.1", port_of(server)), LIMIT)
        until(lambda: client.recv(100) == b"")
        client.close()


def test_there_are_only_so_many_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLIENTS_LIMIT", 2)
    with served(Desk()) as server:
        clients = [Plain(server), Plain(server)]
        third = socket.create_connection(("127.0.0.1", port_of(server)), LIMIT)
        assert third.recv(12) == b""
        third.close()
        clients.pop().close()
        until(lambda: len(server.clients) == 1)
        clients.append(Plain(server))
        for client in clients:
            client.close()


@pytest.mark.parametrize("encoding", [RAW, ZRLE])
def test_a_client_that_never_reads_makes_nothing_grow(encoding: int) -> None:
    """A screen of 4 MiB that changes all the time, asked for all the time, and never read: what
    waits is a rectangle, and others are served as ever."""
    desk = Desk(1024, 1024)
    noise = picture(1024, 1024)
    with served(desk) as server:
        deaf = Plain(server)
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.encodings(encoding)
        other = Plain(server)
        largest = 0
        for n in range(20):
            deaf.ask()
            desk.shows(1024, 1024, noise[n * 4 :] + noise[: n * 4])
            other.ask(incremental=n > 0)
            for _ in range(other.rectangles()):
                width, height, number = struct.unpack(">4xHHi", other.read(12))
                assert number == RAW
                other.read(4 * width * height)
            client = server.clients[0]
            largest = max(largest, len(client._wire) + len(client.session.outbox))
        assert 0 < largest < 1 << 20
        assert client.session.waits is False, "its update has not been sent yet"
        deaf.close()
        other.close()


def test_a_clipboard_is_read_and_forgotten() -> None:
    desk = Desk()
    with served(desk) as server:
        client = Plain(server)
        client.say(struct.pack(">B3xi", 6, 1 << 20), bytes(1 << 20))
        client.say(struct.pack(">B3xi", 6, -100), bytes(100))
        client.say(struct.pack(">BB2xI", 4, 1, ord("a")))
        until(lambda: len(desk.done) == 1)
        client.close()


def test_a_storm_of_moves_is_one_move_at_a_time() -> None:
    desk = Desk()
    with served(desk) as server:
        client = Plain(server)
        moves = b"".join(struct.pack(">BBHH", 5, 0, n % 333, 7) for n in range(10_000))
        client.say(moves, struct.pack(">BBHH", 5, 1, 300, 200))
        until(lambda: ("left", True) in desk.done)
        assert len(desk.done) < 1000
        assert desk.done[-2:] == [("point", 300, 200, 333, 217), ("left", True)]
        client.close()
        until(lambda: desk.done[-1] == ("left", False))


def test_a_part_of_the_screen_is_asked_for() -> None:
    desk = Desk()
    with served(desk) as server:
        client = Plain(server)
        client.say(struct.pack(">BBHHHH", 3, 0, 70, 80, 10, 20))
        assert client.rectangles() == 1
        assert struct.unpack(">HHHHi", client.read(12)) == (70, 80, 10, 20, RAW)
        rows = [desk.memory[4 * (333 * y + 70) :][:40] for y in range(80, 100)]
        assert client.read(800) == b"".join(rows)
        client.close()


def test_a_client_that_cannot_follow_sees_what_fits() -> None:
    desk = Desk()
    with served(desk) as server:
        client = Plain(server)
        desk.shows(100, 50, picture(100, 50))
        until(lambda: server.canvas._rows != 0)
        client.ask()
        seen = bytearray(333 * 217 * 4)
        for _ in range(client.rectangles()):
            x, y, width, height, _ = struct.unpack(">HHHHi", client.read(12))
            for row in range(y, y + height):
                seen[4 * (333 * row + x) :][: 4 * width] = b""
                seen[4 * (333 * row + x) : 4 * (333 * row + x + width)] = client.read(4 * width)
        expected = bytearray(333 * 217 * 4)
        for row in range(50):
            expected[4 * 333 * row : 4 * (333 * row + 100)] = desk.memory[400 * row :][:400]
        assert seen == expected
        client.close()


def test_a_unix_socket_is_gone_afterwards(tmp_path: Path) -> None:
    desk, path = Desk(), tmp_path / ("long" * 30) / "vnc"
    path.parent.mkdir()
    door = Door(listen_unix(str(path)), path=str(path))
    server = VncServer(desk.screen, desk, [door], Access(), lambda: desk.lock, "desk")
    assert path.is_socket()
    assert door.address == str(path)
    server.close()
    assert not path.exists()


def test_a_password_has_a_length() -> None:
    for text in ("", "ninechars", "ääääX"):
        with pytest.raises(BimetalError, match="1 to 8 bytes"):
            Password(text)


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("nothing")
    with pytest.raises(BimetalError, match="cannot be used"):
        tls_context(str(tmp_path / "c"), None)
    with pytest.raises(BimetalError, match="No such file"):
        tls_context(str(tmp_path / "d"), None)


# WebSockets


@pytest.mark.parametrize(
    "origin", [None, "http://localhost:8000", "http://127.0.0.1", "https://good.example"]
)
def test_a_page_looks_through_a_web_socket(origin: str | None) -> None:
    desk = Desk()
    with served(desk, web_socket=True, origins=["https://good.example"]) as server:
        url = f"ws://127.0.0.1:{port_of(server)}/websockify"
        given = None if origin is None else Origin(origin)
        with connect(url, origin=given, max_size=None, compression=None) as page:
            heard = b""

            def read(length: int) -> bytes:
                nonlocal heard
                while len(heard) < length:
                    piece = page.recv(LIMIT)
                    assert isinstance(piece, bytes)
                    heard += piece
                found, heard = heard[:length], heard[length:]
                return found

            assert read(12) == b"RFB 003.008\n"
            page.send(b"RFB 003.008\n")
            assert read(2) == b"\1\1"
            page.send(b"\1")
            assert read(4) == bytes(4)
            page.send(b"\1")
            assert read(28)[24:] == b"desk"
            page.send(struct.pack(">BBHHHH", 3, 0, 0, 0, 333, 217))
            assert struct.unpack(">BxH", read(4)) == (0, 1)
            assert struct.unpack(">HHHHi", read(12)) == (0, 0, 333, 217, RAW)
            assert read(333 * 217 * 4) == desk.memory
        until(lambda: not server.clients)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example"]
)
def test_a_foreign_page_is_kept_out(origin: str) -> None:
    with served(Desk(), web_socket=True) as server:
        url = f"ws://127.0.0.1:{port_of(server)}/"
        with pytest.raises(InvalidStatus, match="403"), connect(url, origin=Origin(origin)):
            pass


def test_a_page_may_name_a_subprotocol() -> None:
    with served(Desk(), web_socket=True) as server:
        url = f"ws://127.0.0.1:{port_of(server)}/"
        with connect(url, subprotocols=[Subprotocol("binary")]) as page:
            assert page.recv(LIMIT) == b"RFB 003.008\n"


def test_who_speaks_no_web_socket_is_gone() -> None:
    with served(Desk(), web_socket=True) as server:
        client = socket.create_connection(("127.0.0.1", port_of(server)), LIMIT)
        until(lambda: server.clients)
        client.sendall(b"RFB 003.008\n" * 10)
        until(lambda: not server.clients)
        client.close()
