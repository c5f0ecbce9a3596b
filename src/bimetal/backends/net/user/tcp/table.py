"""All TCP connections of a network: who gets a segment, and what time it is for them."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from errno import ECONNREFUSED, EMFILE, ENFILE, ENOBUFS, ENOMEM
from struct import Struct

from bimetal.backends.net.user.doors import Doors
from bimetal.backends.net.user.internet import TCP, ones_sum, pseudo_header
from bimetal.backends.net.user.outlet import Outlet
from bimetal.backends.net.user.poller import Poller
from bimetal.backends.net.user.tcp.connection import Connection
from bimetal.backends.net.user.tcp.segments import (
    ACK,
    FIN,
    HEADER,
    RST,
    SYN,
    Segment,
    Template4,
    Template6,
    template,
)
from bimetal.backends.net.user.tcp.sending import MASK, PLAIN_HEADER, Sending, State
from bimetal.base.clock import Clock, Timer
from bimetal.base.frames import CHECKSUM_VALID, NEEDS_CHECKSUM, Frame
from bimetal.base.log import EventLog

__all__ = ["CONNECTIONS_LIMIT", "Tcp"]

CONNECTIONS_LIMIT = 16384
"""Connections at a time, those included that have ended a moment ago."""

HELD_LIMIT = 64 << 20
"""Bytes of all connections that are kept for one side or the other; beyond that each connection
goes on with a single segment under way, and the guest sends again what there is no room for."""

TICK = 200_000_000
"""Nanoseconds between looks at what has timed out; there are none while nothing is awaited."""

DEFAULT_SEGMENT4, DEFAULT_SEGMENT6, LEAST_SEGMENT = 536, 1220, 64
"""Greatest segments of guests that do not tell (RFC 9293, section 3.7.1), and of those who joke."""

_SEGMENT = Struct(">IIHH").unpack_from
"""Sequence, acknowledgement, header length and flags, window, from behind the ports on."""

Pieces = Sequence[memoryview | bytes | bytearray]
Unreachable = Callable[[bytes, int, int], None]
"""Tells the guest why connection ``key``, begun at a sequence number, cannot be: an errno."""


class Tcp:
    """The connections by their keys, which are the bytes from source address to destination port
    in packets of the guest. ``now`` is the time in nanoseconds, as its owner last told."""

    def __init__(
        self,
        outlet: Outlet,
        poller: Poller,
        doors: Doors,
        mtu: int,
        log: EventLog,
        unreachable: Unreachable,
    ):
        self.outlet, self.doors, self.unreachable = outlet, doors, unreachable
        self.connections: dict[bytes, Connection] = {}
        self.now = 0
        self._secret = os.urandom(16)
        self.held = 0
        self._poller, self._mtu, self._log = poller, mtu, log
        self._due: list[Connection] = []
        self._postponed: deque[Sending] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._timed: dict[Sending, None] = {}
        self._clock: Clock | None = None
        self._timer: Timer | None = None

    def attach(self, clock: Clock) -> None:
        """Learn what the time is for the host."""
        self._clock, self._timer = clock, clock.timer(self._tick)
        if self._timed:
            self._timer.arm(self.now + TICK)

    @property
    def has_memory(self) -> bool:
        """Whether more may be kept."""
        return self.held < HELD_LIMIT

    # What the guest sends

    def take(self, frame: Frame, head: bytes, start: int, length: int, key: bytes) -> None:
        """A segment of ``length`` bytes at ``start`` of ``frame``. ``head`` is the frame's
        beginning, the whole of a header without options included."""
        pieces = frame.pieces
        sequence, acknowledged, word, window = _SEGMENT(head, start + 4)
        header = word >> 10 & 0x3C
        begin, size = start + header, length - header
        first = pieces[0]
        if header < HEADER or size < 0:
            self._log.guest_error("a TCP header that is none")
            return
        if len(first) < begin:
            first = b"".join(pieces)
            pieces = (first,)
        if len(first) > begin:
            rest: Pieces = (memoryview(first)[begin:], *pieces[1:])
        else:
            rest = pieces[1:]
        there = sum(map(len, rest))
        if there != size:
            if there < size:
                self._log.guest_error("a TCP segment longer than its frame")
                return
            rest = (b"".join(rest)[:size],) if size else ()
        if not frame.offload.flags & (NEEDS_CHECKSUM | CHECKSUM_VALID):
            whole = b"".join((bytes(first[start:begin]), *rest))
            half = len(key) // 2 - 2
            if ones_sum(pseudo_header(key[:half], key[half : 2 * half], TCP, length) + whole):
                self._log.guest_error("a TCP segment with a wrong checksum")
                return
        connection = self.connections.get(key)
        options = bytes(first[start + HEADER : begin]) if header > HEADER and word & SYN else b""
        segment = Segment(sequence, acknowledged, word, window, options, rest, size)
        if connection is not None and word & SYN and connection.is_over_for(segment):
            connection.close_by_force()
            connection = None
        if connection is None:
            self._stranger(segment, key, head[6:12] + self.doors.mac)
        else:
            connection.arrived(segment)

    def _stranger(self, segment: Segment, key: bytes, ends: bytes) -> None:
        """A segment of no connection."""
        flags = segment.flags
        if flags & RST:
            return
        if flags & ACK:
            self.reset(key, ends, segment.acknowledged)
        elif flags & SYN:
            self._open(segment, key, ends)
        else:
            after = segment.sequence + segment.length + (flags & FIN) & MASK
            self.reset(key, ends, 0, after)

    def _open(self, segment: Segment, key: bytes, ends: bytes) -> None:
        """The guest asks for a connection."""
        sequence = segment.sequence
        if len(self.connections) >= CONNECTIONS_LIMIT:
            self._log.guest_error("too many TCP connections at a time")
            return  # it asks again
        half = len(key) // 2 - 2
        try:
            line, waits = self.doors.open(key[half : 2 * half], int.from_bytes(key[-2:]))
        except OSError as error:
            if error.errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
                self._log.host_error("no socket for the guest", str(error))
            elif error.errno == ECONNREFUSED:
                self.reset(key, ends, 0, sequence + 1 & MASK)
            else:
                self.unreachable(key, sequence, error.errno or 0)
            return
        connection = self._add(key, ends, line)
        connection.asked(segment)
        if not waits:
            connection.connected()

    def accepted(self, key: bytes, ends: bytes, line: socket.socket) -> None:
        """Somebody has dialled a port of the host that leads to the guest."""
        if key in self.connections or len(self.connections) >= CONNECTIONS_LIMIT:
            line.close()
        else:
            self._add(key, ends, line).ask()

    def _add(self, key: bytes, ends: bytes, line: socket.socket) -> Connection:
        connection = Connection(self, key, self.template(key, ends, None), line)
        self.connections[key] = connection
        self._poller.add(line, connection.event)
        return connection

    # What connections ask for

    def initial_sequence(self, key: bytes) -> int:
        """Where our sequence numbers begin: later than those of an earlier connection with the same
        ends, and not to be guessed (RFC 6528)."""
        return (self.now >> 12) + hash((self._secret, key)) & MASK

    def template(self, key: bytes, ends: bytes, segment: int | None) -> Template4 | Template6:
        """The template of a connection to a guest that takes segments of that many bytes."""
        default = DEFAULT_SEGMENT4 if len(key) == 12 else DEFAULT_SEGMENT6
        most = self.segment_of(key)
        return template(ends, key, max(LEAST_SEGMENT, min(segment or default, most)))

    def segment_of(self, key: bytes) -> int:
        """The greatest segment of a connection that fits into a packet."""
        return self._mtu - (40 if len(key) == 12 else 60)

    def reset(
        self, key: bytes, ends: bytes, sequence: int, acknowledged: int | None = None
    ) -> None:
        """Tell the guest that there is no such connection (RFC 9293, 3.10.7.1)."""
        flags = PLAIN_HEADER | RST | (ACK if acknowledged is not None else 0)
        made = self.template(key, ends, None)
        head = made.pack(sequence, acknowledged or 0, flags, 0, 0)
        self.outlet.put(Frame((head,), made.summed))

    def ack_soon(self, connection: Connection) -> None:
        """Acknowledge before the batch ends, unless data does so."""
        if not connection.ack_due:
            connection.ack_due = True
            self._due.append(connection)

    def postpone(self, connection: Sending) -> None:
        """Have `Connection.pump` called again, when others have had their turn."""
        if not connection.postponed:
            connection.postponed = True
            self._postponed.append(connection)

    def watch_time(self, connection: Sending) -> None:
        """Have `Connection.expired` called when its deadline has come."""
        if connection not in self._timed:
            self._timed[connection] = None
            if self._timer is not None and self._timer.deadline is None:
                self._timer.arm(self.now + TICK)

    def release(self, line: socket.socket) -> None:
        """Give a socket back. Idempotent."""
        self._poller.remove(line)
        line.close()

    def forget(self, connection: Connection) -> None:
        """A connection is no more."""
        if self.connections.get(connection.key) is connection:
            del self.connections[connection.key]

    # What its owner calls

    def finish_batch(self) -> None:
        """Acknowledge what has come."""
        if self._due and not self.outlet.blocked:
            due, self._due = self._due, []
            for connection in due:
                if connection.ack_due and connection.state != State.CLOSED:
                    connection.acknowledge()

    def call_soon(self, function: Callable[[], None]) -> None:
        """Call ``function`` when others have had their turn."""
        self._calls.append(function)

    def go_on(self) -> None:
        """Let those go on who had to wait, as far as the guest has room."""
        for _ in range(len(self._calls)):
            self._calls.popleft()()
        postponed = self._postponed
        for _ in range(len(postponed)):
            if self.outlet.blocked:
                return
            connection = postponed.popleft()
            connection.postponed = False
            connection.pump()

    @property
    def has_more(self) -> bool:
        """Whether `go_on` or `finish_batch` has something to do."""
        return bool(self._due or self._postponed or self._calls)

    def close(self) -> None:
        """Close all connections; their peers on the host see the end, or a reset."""
        for connection in list(self.connections.values()):
            self.release(connection.line)
            connection.state = State.CLOSED
        self.connections.clear()
        self._timed.clear()
        self._postponed.clear()
        self._calls.clear()
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        """Look who has waited for too long."""
        assert self._clock is not None
        assert self._timer is not None
        self.now = self._clock.now_ns()
        for connection in list(self._timed):
            if not connection.deadline:
                del self._timed[connection]
            elif connection.deadline <= self.now:
                connection.expired()
        self.finish_batch()
        self.outlet.flush()
        if self._timed:
            self._timer.arm(self.now + TICK)
