"""The socket device (virtio 1.2, section 5.10), with Unix sockets of the host behind it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal.backends.reactor import Reactor
from bimetal.backends.vsock.sockets import VsockSockets
from bimetal.devices.virtio.vsock import CONNECTIONS_LIMIT, REPLIES_LIMIT, VirtioVsock
from bimetal.devices.virtio.vsock_connection import WINDOW
from bimetal.devices.virtio.vsock_packets import HEADER, HOST_CID, STREAM, Op, Packet
from tests.devices.virtio.guest import CONFIG, DEVICE_ID, NEEDS_RESET, STATUS, Guest

CID = 5
PORT = 1234
BIG = 1 << 20
SIZE = 16 << 20


class World:
    """A guest with sockets, a driver that gives ``buffers`` of 4 KiB, and the host's loop."""

    def __init__(self, path: Path, buffers: int = 32):
        self.path = path
        self.host = VsockSockets(str(path))
        self.reactor = Reactor()
        self.host.attach(self.reactor)
        self.device = VirtioVsock(self.host, CID)
        self.guest = Guest(self.device, SIZE)
        self.receive, self.transmit, self.event = self.guest.start(queues=3, size=16)
        self.rooms: dict[int, tuple[int, int, int]] = {}
        self._reusable: list[tuple[int, int, int]] = []
        self.wanted = min(buffers, 16)
        self.got: list[tuple[Packet, bytes]] = []
        self.refill()

    def close(self) -> None:
        self.guest.slot.close()
        self.reactor.close()

    def refill(self) -> None:
        while len(self.rooms) < self.wanted:
            room = self._reusable.pop() if self._reusable else self.guest.room(4096)
            head = self.receive.chain(room)
            self.rooms[head] = room
            self.receive.offer(head)
        self.receive.notify()

    def collect(self) -> None:
        """Take what has come, and give the buffers back."""
        for used in self.receive.completed():
            room = self.rooms.pop(used.head)
            data = self.guest.peek(room)[: used.length]
            packet = Packet(*HEADER.unpack(data[: HEADER.size]))
            assert packet.length == used.length - HEADER.size
            assert (packet.src_cid, packet.dst_cid) == (HOST_CID, CID)
            self.got.append((packet, data[HEADER.size :]))
            self._reusable.append(room)
        self.refill()

    def turn(self, times: int = 3) -> None:
        for _ in range(times):
            self.reactor.turn()
            self.collect()

    def send(self, op: int, data: bytes = b"", *, port: int = 99, host_port: int = PORT,
             flags: int = 0, window: int = BIG, used: int = 0) -> None:  # fmt: skip
        """Send a packet as the driver does, and take what comes."""
        length = len(data)
        packet = Packet(CID, HOST_CID, port, host_port, length, STREAM, op, flags, window, used)
        self.send_raw(packet, data)

    def send_raw(self, packet: Packet, data: bytes = b"") -> None:
        place = self.guest.place(packet.pack() + data)
        self.transmit.submit(place)
        self.transmit.completed()
        self.guest._next = place[0]
        self.collect()

    def ops(self) -> list[Op]:
        """What has come since this was last asked."""
        ops = [Op(packet.op) for packet, _ in self.got]
        self.got.clear()
        return ops

    def listener(self, port: int = PORT) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{self.path}_{port}")
        listener.listen()
        return listener


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "sock")
    yield world
    world.close()


def connected(world: World, window: int = BIG) -> socket.socket:
    """The host's end of a connection that the guest began."""
    with world.listener() as listener:
        world.send(Op.REQUEST, window=window)
        assert world.ops() == [Op.RESPONSE]
        client, _ = listener.accept()
    client.settimeout(20)
    return client


def test_the_configuration(world: World) -> None:
    assert world.guest.read(DEVICE_ID) == 19
    assert world.guest.read(CONFIG, 8) == CID


@pytest.mark.parametrize("cid", [0, 1, 2, 0xFFFF_FFFF, 1 << 32])
def test_contexts_that_are_no_guests(world: World, cid: int) -> None:
    with pytest.raises(ValueError, match="context"):
        VirtioVsock(world.host, cid)


def test_the_guest_connects_to_the_host(world: World) -> None:
    with connected(world) as client:
        world.send(Op.RW, b"hello")
        assert client.recv(100) == b"hello"
        client.send(b"welcome")
        world.turn()
        packet, data = world.got.pop()
        assert (packet.op, data, packet.fwd_cnt) == (Op.RW, b"welcome", 5)
        assert (packet.src_port, packet.dst_port, packet.buf_alloc) == (PORT, 99, WINDOW)
        client.shutdown(socket.SHUT_WR)
        world.turn()
        assert [(packet.op, packet.flags) for packet, _ in world.got] == [(Op.SHUTDOWN, 2)]
        world.got.clear()
        world.send(Op.RW, b"last words")
        world.send(Op.SHUTDOWN, flags=3)
        assert client.recv(100) == b"last words"
        assert client.recv(100) == b""
        assert world.ops() == [Op.RST]


def test_nobody_listens(world: World) -> None:
    world.send(Op.REQUEST)
    assert world.ops() == [Op.RST]


def test_the_host_connects_to_the_guest(world: World) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(world.path))
        client.send(b"CONNECT 22\nearly")
        world.turn()
        ((packet, _),) = world.got
        assert (packet.op, packet.dst_port) == (Op.REQUEST, 22)
        world.got.clear()
        world.send(Op.RESPONSE, port=22, host_port=packet.src_port)
        assert client.recv(100) == f"OK {packet.src_port}\n".encode()
        assert [data for _, data in world.got] == [b"early"]
        world.send(Op.RW, b"x" * 10, port=22, host_port=packet.src_port)
        assert client.recv(100) == b"x" * 10
        world.send(Op.RST, port=22, host_port=packet.src_port)
        assert client.recv(100) == b""


def test_the_guest_refuses(world: World) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(world.path))
        client.send(b"CONNECT 22\n")
        world.turn()
        ((packet, _),) = world.got
        world.send(Op.RST, port=22, host_port=packet.src_port)
        assert client.recv(100) == b""


@pytest.mark.parametrize("line", [b"\n", b"CONNECT x\n", b"CONNECT 4294967296\n", b"c" * 40, b""])
def test_what_is_no_greeting_is_hung_up(world: World, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(world.path))
        client.send(line)
        if not line:
            client.shutdown(socket.SHUT_WR)
        world.turn()
        with pytest.raises((ConnectionResetError, AssertionError)):  # however it is told
            assert client.recv(100)
    assert world.ops() == []


def test_the_guest_gets_no_more_than_it_has_room_for(world: World) -> None:
    with connected(world, window=100) as client:
        client.send(b"x" * 1000)
        world.turn()
        assert sum(len(data) for _, data in world.got) == 100
        assert world.ops() == [Op.RW, Op.CREDIT_REQUEST]
        world.send(Op.CREDIT_UPDATE, window=100, used=60)
        assert sum(len(data) for _, data in world.got) == 60
        assert world.ops() == [Op.RW, Op.CREDIT_REQUEST]
        world.send(Op.CREDIT_UPDATE, window=BIG, used=160)
        assert sum(len(data) for _, data in world.got) == 840


def test_a_host_that_does_not_read_makes_the_guest_wait(world: World) -> None:
    with connected(world) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sent = 0
        while not sent or world.got[-1][0].op != Op.RST:
            world.got.clear()
            world.send(Op.CREDIT_REQUEST)
            packet, _ = world.got[-1]
            left = packet.buf_alloc - (sent - packet.fwd_cnt)
            if left < 32 << 10:
                break
            world.send(Op.RW, bytes(32 << 10))
            sent += 32 << 10
        assert sent < 4 << 20
        got = 0
        while got < sent:
            got += len(client.recv(1 << 20))
            world.turn(1)
        world.ops()
        world.send(Op.CREDIT_REQUEST)
        assert world.got[-1][0].fwd_cnt == sent


def test_more_data_than_credit_ends_the_connection(world: World) -> None:
    with connected(world) as client:
        world.send(Op.RW, bytes(WINDOW + 1))
        assert world.ops() == [Op.RST]
        assert client.recv(10) == b""


def test_credit_that_is_taken_back_is_not_the_end(tmp_path: Path) -> None:
    world = World(tmp_path / "sock", buffers=1)
    with connected(world) as client:
        world.wanted = 0
        client.send(b"x" * 6000)
        world.turn()
        world.send(Op.CREDIT_UPDATE, window=4052, used=0)
        world.wanted = 2
        world.refill()
        world.turn()
        world.send(Op.CREDIT_UPDATE, used=4052)
        world.turn()
        assert Op.SHUTDOWN not in {packet.op for packet, _ in world.got}
        assert b"".join(data for _, data in world.got) == b"x" * 6000
    world.close()


def test_a_buffer_for_nothing_but_a_header_ends_no_connection(tmp_path: Path) -> None:
    world = World(tmp_path / "sock", buffers=1)
    with connected(world) as client:
        world.wanted = 0
        client.send(b"x" * 6000)
        world.turn()
        small = world.guest.room(HEADER.size)
        world.rooms[world.receive.submit(small)] = small
        world.collect()
        world._reusable.remove(small)
        world.wanted = 1
        world.refill()
        world.turn()
        assert b"".join(data for _, data in world.got) == b"x" * 6000
        assert Op.SHUTDOWN not in world.ops()
    world.close()


def test_much_data_both_ways(world: World) -> None:
    data = bytes(range(256)) * 4096
    with connected(world) as client:
        client.setblocking(False)
        back, sent, taken, forwarded = bytearray(), 0, bytearray(), 0
        while len(back) < len(data) or len(taken) < len(data):
            if sent < len(data) and sent - forwarded < WINDOW - 8192:
                world.send(Op.RW, data[sent : sent + 8192], used=len(taken), window=1 << 15)
                sent += 8192
            try:
                back += (part := client.recv(1 << 16))
                client.send(part)
            except BlockingIOError:
                pass
            world.turn(1)
            for packet, part in world.got:
                forwarded = packet.fwd_cnt
                taken += part
            world.got.clear()
            world.send(Op.CREDIT_UPDATE, used=len(taken), window=1 << 15)
        assert back == taken == data


def test_connections_take_turns(tmp_path: Path) -> None:
    world = World(tmp_path / "sock", buffers=2)
    with world.listener() as listener:
        clients = []
        for port in (1, 2):
            world.send(Op.REQUEST, port=port)
            clients.append(listener.accept()[0])
    world.ops()
    for client in clients:
        client.send(bytes(20_000))
    world.turn(6)
    order = [packet.dst_port for packet, _ in world.got]
    assert order[2:8] in ([1, 2] * 3, [2, 1] * 3)
    for client in clients:
        client.close()
    world.close()


def test_a_host_that_goes_away_is_told(world: World) -> None:
    client = connected(world)
    client.close()
    world.send(Op.RW, b"anybody?")
    world.turn()
    assert Op.RST in world.ops()


def test_requests_beyond_the_limit_are_refused(world: World) -> None:
    assert CONNECTIONS_LIMIT >= 512
    world.device._connections = {(n, n): None for n in range(CONNECTIONS_LIMIT)}  # type: ignore[misc]
    with world.listener():
        world.send(Op.REQUEST, port=70_000)
    assert world.ops() == [Op.RST]
    world.device._connections.clear()


def test_a_driver_without_buffers_has_to_wait(tmp_path: Path) -> None:
    world = World(tmp_path / "sock", buffers=0)
    taken = 0
    for port in range(REPLIES_LIMIT + 20):
        packet = Packet(CID, HOST_CID, port, PORT, 0, STREAM, Op.RW, 0, 0, 0)
        if not world.transmit.free:
            break
        place = world.guest.place(packet.pack())
        world.transmit.submit(place)
        taken += len(world.transmit.completed())
    assert len(world.device._replies) == REPLIES_LIMIT == taken
    world.wanted = 16
    world.refill()
    for _ in range(40):
        world.collect()
    assert len(world.got) == taken + 16, "what waited was answered too"
    world.close()


def test_packets_of_other_guests_are_dropped(world: World) -> None:
    for ends in ((6, HOST_CID), (CID, 1), (CID, CID)):
        world.send_raw(Packet(*ends, 99, PORT, 0, STREAM, Op.REQUEST, 0, BIG, 0))
    world.send_raw(Packet(CID, HOST_CID, 99, PORT, 10_000, STREAM, Op.RW, 0, BIG, 0), b"ab")
    assert world.ops() == []
    assert not world.guest.read(STATUS) & NEEDS_RESET


def test_what_is_no_stream_is_refused(world: World) -> None:
    with world.listener():
        world.send_raw(Packet(CID, HOST_CID, 99, PORT, 0, 2, Op.REQUEST, 0, BIG, 0))
    world.send(77)
    assert world.ops() == [Op.RST, Op.RST]


def test_a_request_again_ends_the_connection(world: World) -> None:
    with connected(world) as client:
        world.send(Op.REQUEST)
        assert world.ops() == [Op.RST]
        assert client.recv(10) == b""


def test_a_snapshot_has_no_connections(world: World) -> None:
    with connected(world) as client:
        world.guest.slot.load(world.guest.slot.save())
        assert client.recv(10) == b""
        place = world.guest.room(4)
        world.event.submit(place)
        assert world.event.completed()[0].length == 4
        assert world.guest.peek(place) == struct.pack("<I", 0), "transport reset"


def test_a_reset_ends_connections(world: World) -> None:
    with connected(world) as client:
        world.guest.write(STATUS, 0)
        assert client.recv(10) == b""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(world.path))
        client.send(b"CONNECT 22\n")
        world.reactor.turn()
        world.reactor.turn()
        assert client.recv(10) == b"", "no driver is there"


def test_the_socket_is_removed_with_the_machine(tmp_path: Path) -> None:
    world = World(tmp_path / "sock")
    client = connected(world)
    world.close()
    assert not (tmp_path / "sock").exists()
    assert client.recv(10) == b""
    client.close()
