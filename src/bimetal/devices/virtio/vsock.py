"""The socket device (virtio 1.2, section 5.10): connections between ports of the guest and of the
host, without a network.

Streams only. A snapshot has no connections: the driver is told that they are lost (5.10.6.7), as
after a migration.
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import Protocol

from bimetal.base.buffers import scatter, split, total
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.devices.virtio.device import VirtioDevice, Work
from bimetal.devices.virtio.queue import Chain, QueueError
from bimetal.devices.virtio.vsock_connection import WINDOW, Connection, Stream
from bimetal.devices.virtio.vsock_packets import HEADER, HOST_CID, SEND_END, STREAM, Op, Packet

__all__ = ["SocketHost", "VirtioVsock"]

RECEIVE, TRANSMIT, EVENT = 0, 1, 2

CONNECTIONS_LIMIT = 1024
REPLIES_LIMIT = 256
"""Packets without data that wait for the driver's buffers before its own have to wait too."""

FIRST_PORT = 1 << 30
"""The first port of the host's that is used for a connection that the host begins."""

_CID = Struct("<Q")
_EVENT = Struct("<I")
TRANSPORT_RESET = 0


class SocketHost(Protocol):
    """The host's side, as the device needs it."""

    def connect(self, device: VirtioVsock) -> None:
        """Call `VirtioVsock.call` for connections that begin on the host."""

    def dial(self, port: int) -> Stream | None:
        """The far end of a connection to that port of the host; None if nobody listens."""

    def close(self) -> None:
        """Give everything back. Idempotent."""


class VirtioVsock(VirtioDevice):
    """Sockets of a guest with the context ``cid``, from 3 on, whose other ends ``host`` has."""

    device_id = 19
    queue_limits = (128, 128, 16)
    fixed = ("_host", "cid")
    derived = ("_connections", "_replies", "_sendable", "_lost", "_next_port", "_looking")

    def __init__(self, host: SocketHost, cid: int = 3):
        super().__init__()
        if not HOST_CID < cid < 0xFFFF_FFFF:
            raise ValueError(f"no guest has the context {cid}")
        self._host, self.cid = host, cid
        self.config[:] = _CID.pack(cid)
        self._connections: dict[tuple[int, int], Connection] = {}
        self._replies: deque[Packet] = deque()
        self._sendable: dict[Connection, None] = {}
        """Connections that have something for the guest, whose turn it is first."""
        self._lost = False
        """Whether the driver is to be told that its connections are lost."""
        self._next_port = FIRST_PORT
        self._looking: set[int] = set()
        host.connect(self)

    # The host's side

    def call(self, port: int, stream: Stream) -> Connection | None:
        """Ask the guest for a connection to its ``port``; None if there can be none."""
        if not self.running or len(self._connections) >= CONNECTIONS_LIMIT:
            return None
        while (port, self._next_port) in self._connections:
            self._next_port = max(FIRST_PORT, self._next_port + 1 & 0xFFFF_FFFF)
        connection = self._new(port, self._next_port, stream)
        self._next_port = max(FIRST_PORT, self._next_port + 1 & 0xFFFF_FFFF)
        self.say(connection, Op.REQUEST)
        return connection

    def say(self, connection: Connection, op: Op, flags: int = 0) -> None:
        """See `Owner`."""
        self._reply(connection.host_port, connection.guest_port, op, flags)

    def news(self, connection: Connection) -> None:
        """See `Owner`."""
        if connection.sendable:
            self._sendable[connection] = None
            self.look(RECEIVE)
        else:
            connection.want_credit()

    def drop(self, connection: Connection) -> None:
        """See `Owner`."""
        self._connections.pop(connection.key, None)
        self._sendable.pop(connection, None)

    # The device

    def look(self, index: int) -> None:
        # A packet may call for another one: who looks already finds it too.
        if index not in self._looking:
            self._looking.add(index)
            try:
                super().look(index)
            finally:
                self._looking.discard(index)

    def has_use_for(self, index: int) -> bool:
        if index == RECEIVE:
            return bool(self._replies or self._sendable)
        return self._lost if index == EVENT else len(self._replies) < REPLIES_LIMIT

    def work_on(self, index: int, chain: Chain) -> Work:
        if index == EVENT:
            self._lost = False
            yield 0
            return scatter(_EVENT.pack(TRANSPORT_RESET), chain.writable)
        if index == RECEIVE:
            written = self._send(chain)
            yield written
            if len(self._replies) == REPLIES_LIMIT - 1:
                self.look(TRANSMIT)
            return written
        yield self._receive(chain)
        return 0

    def reset(self) -> None:
        super().reset()
        self._forget_all()

    def restored(self) -> None:
        super().restored()
        self._forget_all()
        self._lost = True
        self.look(EVENT)

    def check_forkable(self) -> None:
        raise BimetalError(
            "a machine with a vsock cannot be forked: its Unix sockets have one owner",
            "leave the vsock away",
            ExitCode.UNAVAILABLE,
        )

    def close(self) -> None:
        super().close()
        self._forget_all()
        self._host.close()

    def _forget_all(self) -> None:
        for connection in list(self._connections.values()):
            connection.over()
        self._replies.clear()
        self._lost = False

    def _new(self, guest_port: int, host_port: int, stream: Stream) -> Connection:
        connection = Connection(self, guest_port, host_port, stream)
        self._connections[connection.key] = connection
        return connection

    # Packets to the guest

    def _reply(self, src: int, dst: int, op: Op, flags: int = 0) -> None:
        self._replies.append(Packet(HOST_CID, self.cid, src, dst, 0, STREAM, op, flags, 0, 0))
        self.look(RECEIVE)

    def _send(self, chain: Chain) -> int:
        """Put the next packet into ``chain``; its length. Raises `QueueError`."""
        room = total(chain.writable) - HEADER.size
        if room < 0:
            raise QueueError("a buffer for a packet has no room for its header")
        data = b""
        if self._replies:
            packet = self._replies.popleft()
            connection = self._connections.get((packet.dst_port, packet.src_port))
        else:
            connection = next(iter(self._sendable))
            del self._sendable[connection]
            op, flags = Op.CREDIT_UPDATE, 0  # says nothing new: for who has taken credit back
            if connection.tell_end():
                op, flags = Op.SHUTDOWN, SEND_END
            elif data := connection.next_data(room):
                op = Op.RW
            packet = Packet(
                HOST_CID, self.cid, connection.host_port, connection.guest_port, len(data),
                STREAM, op, flags, 0, 0,
            )  # fmt: skip
            if connection.sendable:
                self._sendable[connection] = None  # behind the others
            else:
                connection.want_credit()
        if connection is not None:
            packet = packet._replace(buf_alloc=WINDOW, fwd_cnt=connection.told())
        return scatter(packet.pack() + data, chain.writable)

    # Packets of the guest

    def _receive(self, chain: Chain) -> int:
        """Do what a packet says; the bytes in it. Raises `QueueError`."""
        parts, rest = split(chain.readable, HEADER.size)
        header = b"".join(parts)
        if len(header) < HEADER.size:
            raise QueueError("a packet has no header")
        packet = Packet(*HEADER.unpack(header))
        if (packet.src_cid, packet.dst_cid) != (self.cid, HOST_CID):
            self.events.guest_error("a packet that is not from this guest to its host")
        elif packet.length > total(rest):
            self.events.guest_error("a packet that is shorter than it says")
        else:
            self._obey(packet, rest)
        return HEADER.size + packet.length

    def _obey(self, packet: Packet, rest: list[memoryview]) -> None:
        connection = self._connections.get((packet.src_port, packet.dst_port))
        if packet.op == Op.REQUEST:
            self._begin(packet, connection)
        elif connection is None or packet.type != STREAM:
            if packet.op != Op.RST:
                self._reply(packet.dst_port, packet.src_port, Op.RST)
        elif packet.op == Op.RST:
            connection.over()
        else:
            if packet.op == Op.RESPONSE and not connection.open:
                connection.accepted()
            elif packet.op == Op.RW:
                if not connection.fits(packet.length):
                    self.events.guest_error("more data than there is credit for")
                    connection.host_gone()
                    return
                connection.take(b"".join(split(rest, packet.length)[0]))
            elif packet.op == Op.SHUTDOWN:
                connection.shut_down(packet.flags)
            elif packet.op == Op.CREDIT_REQUEST:
                self.say(connection, Op.CREDIT_UPDATE)
            connection.credit(packet.buf_alloc, packet.fwd_cnt)

    def _begin(self, packet: Packet, present: Connection | None) -> None:
        """The guest asks for a connection."""
        stream = None
        if present is not None:
            present.over()
        elif packet.type == STREAM and len(self._connections) < CONNECTIONS_LIMIT:
            stream = self._host.dial(packet.dst_port)
        if stream is None:
            self._reply(packet.dst_port, packet.src_port, Op.RST)
            return
        connection = self._new(packet.src_port, packet.dst_port, stream)
        connection.open = True
        self._reply(packet.dst_port, packet.src_port, Op.RESPONSE)
        connection.credit(packet.buf_alloc, packet.fwd_cnt)
        stream.begin(connection)
