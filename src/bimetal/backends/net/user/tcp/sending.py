"""The half of a connection that carries what the host sends to the guest.

What the guest has not acknowledged is kept and sent again: its NIC may drop frames. There is no
congestion on a cable in memory, so nothing but the guest's window limits what is under way;
congestion of real networks is the business of the host's own TCP.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import TYPE_CHECKING

from bimetal.backends.net.user.tcp.segments import (
    ACK,
    FIN,
    HEADER,
    PSH,
    RST,
    SYN,
    Template4,
    Template6,
    options,
)
from bimetal.base.frames import Frame

if TYPE_CHECKING:
    from bimetal.backends.net.user.tcp.table import Tcp

__all__ = ["MASK", "SHIFT", "WINDOW", "Sending", "State"]

MASK = 0xFFFF_FFFF

WINDOW = 1 << 20
"""Bytes that the guest may send before the host has taken them."""

SHIFT = 5
"""The scale of that window, if the guest knows window scales (RFC 7323)."""

FLIGHT = 2 << 20
"""Bytes that are under way to the guest at most, whatever its window."""

PLAIN_HEADER = HEADER // 4 << 12
"""The length of a header without options, where it stands beside the flags."""

SEGMENTS = 64
"""Segments into which a frame has to be cut at most."""

BURST = 8
"""Frames for one connection before others get a turn."""

DUPLICATES = 3
"""Acknowledgements of the same that mean that a segment is lost (RFC 5681, section 3.2)."""

FIRST_TIMEOUT = LEAST_TIMEOUT = 1_000_000_000
LONGEST_TIMEOUT = 60_000_000_000
"""Nanoseconds until something is sent again (RFC 6298)."""

ATTEMPTS = 15
"""How often something is sent again to a guest that says nothing at all."""


class State:
    """Where a connection is in its life. What of it has ended already is told by attributes."""

    CONNECTING = 0  # the host's socket is not connected yet, the guest waits for an answer
    SYN_SENT = 1  # the host's socket is there, the guest is asked
    SYN_RECEIVED = 2  # both are there, the guest has to acknowledge
    OPEN = 3
    DONE = 4  # all is said; kept for a while in case that the guest has not heard the last word
    CLOSED = 5


class Sending:
    """What is known of the guest's end, and what is under way to it. Names as in RFC 9293."""

    __slots__ = (
        "ack_due", "attempts", "backlog", "backoff", "chunk", "deadline", "duplicates", "edge",
        "fin_sent", "host_finished", "hung_up", "key", "largest", "line", "offset", "peer_shift",
        "postponed", "probing", "readable", "receive_next", "recover", "segment", "send_next",
        "send_una", "shift", "smoothed", "state", "tcp", "template", "timed_at", "timed_end",
        "unacked", "variation", "window",
    )  # fmt: skip

    def __init__(self, tcp: Tcp, key: bytes, template: Template4 | Template6, line: socket.socket):
        self.tcp, self.key, self.line = tcp, key, line
        self.state = State.CONNECTING
        self.send_una = self.send_next = tcp.initial_sequence(key)
        self.receive_next = self.edge = 0
        self.backlog = bytearray()
        """What the guest has sent and the host's socket has not taken."""
        self.shift = 0
        self.window = self.largest = 0
        self.peer_shift = 0
        self.unacked: deque[bytes] = deque()
        self.offset = 0
        """Bytes of the first of ``unacked`` that are acknowledged."""
        self.readable = self.hung_up = self.host_finished = self.fin_sent = False
        self.ack_due = self.postponed = self.probing = False
        self.deadline = self.backoff = self.attempts = self.duplicates = 0
        self.recover: int | None = None
        """The end of what was under way when something was lost, until that has arrived."""
        self.timed_at = self.timed_end = self.smoothed = self.variation = 0
        self.use(template)

    def use(self, template: Template4 | Template6) -> None:
        """Make frames by ``template``."""
        self.template, self.segment = template, template.segment
        self.chunk = min((0xFFFF - 60) // template.segment, SEGMENTS) * template.segment

    @property
    def in_flight(self) -> int:
        """How far the guest is behind, in bytes; SYN and FIN count as one."""
        return self.send_next - self.send_una & MASK

    # Making segments

    def emit(self, sequence: int, flags: int, data: bytes | memoryview = b"") -> None:
        """Send a segment, which acknowledges all that has come."""
        length = len(data)
        window = WINDOW - len(self.backlog) >> self.shift
        if window > 0xFFFF:
            window = 0xFFFF
        receive_next, template = self.receive_next, self.template
        self.edge = receive_next + (window << self.shift) & MASK
        self.ack_due = False
        word = PLAIN_HEADER | ACK | flags
        head = template.pack(sequence, receive_next, word, window, length)
        if length > self.segment:
            self.tcp.outlet.put(Frame((head, data), template.cut))
        else:
            self.tcp.outlet.put(Frame((head, data) if length else (head,), template.summed))

    def acknowledge(self) -> None:
        """Tell the guest at once what has come."""
        self.emit(self.send_next, 0)

    def emit_syn(self) -> None:
        """Ask the guest for a connection, or answer that there is one."""
        answering = self.state == State.SYN_RECEIVED
        told = options(self.tcp.segment_of(self.key), self.shift if self.offers_shift else None)
        word = (HEADER + len(told)) // 4 << 12 | SYN | (ACK if answering else 0)
        window = min(WINDOW, 0xFFFF)  # never scaled in a SYN
        self.edge = self.receive_next + window & MASK
        head = self.template.pack(self.send_una, self.receive_next, word, window, len(told))
        self.tcp.outlet.put(Frame((head, told), self.template.summed))

    @property
    def offers_shift(self) -> bool:
        """Whether our SYN offers a window scale: always when we ask, else if the guest did."""
        return self.state == State.SYN_SENT or bool(self.shift)

    def emit_reset(self) -> None:
        """Tell the guest that the connection is no more."""
        self.emit(self.send_next, RST)

    # What the host sends

    def pump(self) -> None:
        """Send what the host's socket has, as far as the guest's window goes."""
        tcp, recv = self.tcp, self.line.recv
        if not self.readable or self.state != State.OPEN:
            return
        if self.fin_sent:
            self._listen_on()
            return
        for _ in range(BURST):
            if tcp.outlet.blocked:
                break
            flight = self.send_next - self.send_una & MASK
            room = min(self.window, FLIGHT if tcp.has_memory else self.segment) - flight
            if room < self.segment and (flight or room < self.largest >> 1 or not room):
                if not flight and not self.deadline:
                    self._start_timer()  # ask for the window: an update of it may have been lost
                return
            size = min(room, self.chunk)
            try:
                data = recv(size)
            except BlockingIOError:
                self.readable = False
                return
            except OSError:
                self.abort()
                return
            if not data:
                self._finish()
                return
            self._send(data)
            if len(data) < size and not self.hung_up:
                self.readable = False
                return
        tcp.postpone(self)

    def _send(self, data: bytes) -> None:
        """Send ``data``, the next of the stream."""
        tcp, sequence = self.tcp, self.send_next
        if sequence == self.send_una:
            self._start_timer()
        self.unacked.append(data)
        tcp.held += len(data)
        self.send_next = sequence + len(data) & MASK
        if not self.timed_at:
            self.timed_at, self.timed_end = tcp.now, self.send_next
        self.emit(sequence, PSH, data)

    def _finish(self) -> None:
        """The host has said all: so must we."""
        self.readable, self.host_finished, self.fin_sent = False, True, True
        sequence, self.send_next = self.send_next, self.send_next + 1 & MASK
        if sequence == self.send_una:
            self._start_timer()
        self.emit(sequence, FIN)

    def _listen_on(self) -> None:
        """The host has said all and reports something all the same: a reset, if anything."""
        self.readable = False
        try:
            self.line.recv(1)
        except BlockingIOError:
            pass
        except OSError:
            self.abort()

    # What the guest acknowledges

    def acknowledged(self, count: int) -> None:
        """The guest has got ``count`` more bytes, of those that are under way."""
        tcp = self.tcp
        self.send_una = self.send_una + count & MASK
        left, unacked = count + self.offset, self.unacked
        while unacked and left >= len(unacked[0]):
            length = len(unacked.popleft())
            left -= length
            tcp.held -= length
        self.offset = left if unacked else 0
        self.backoff = self.duplicates = 0
        self.probing = False
        if self.timed_at and (self.send_una - self.timed_end & MASK) < 1 << 31:
            self._measured(tcp.now - self.timed_at)
            self.timed_at = 0
        if self.send_una == self.send_next:
            self.deadline, self.recover = 0, None
            return
        self.deadline = tcp.now + self.timeout
        if self.recover is not None:
            if (self.recover - self.send_una - 1 & MASK) < 1 << 31:
                self.send_again()  # what follows what was lost is lost too (RFC 6582)
            else:
                self.recover = None

    def acknowledged_again(self) -> None:
        """The guest says once more what it has got: something after that has arrived."""
        self.duplicates += 1
        if self.duplicates == DUPLICATES and self.recover is None:
            self.recover = self.send_next
            self.send_again()

    def window_told(self, window: int) -> None:
        """The guest tells how much it takes from ``send_una`` on."""
        self.window = window
        if window > self.largest:
            self.largest = window
        if window and self.probing:
            self.probing = False
            if self.send_una != self.send_next:
                self.send_again()  # the byte that asked for the window found none

    def send_again(self) -> None:
        """Send once more the first of what is under way."""
        self.timed_at = 0
        if self.state in (State.SYN_SENT, State.SYN_RECEIVED):
            self.emit_syn()
        elif self.unacked:
            size = max(1, min(self.window, self.chunk))
            data = memoryview(self.unacked[0])[self.offset : self.offset + size]
            self.emit(self.send_una, PSH, data)
        elif self.fin_sent:
            self.emit(self.send_una, FIN)

    # Time

    @property
    def timeout(self) -> int:
        """Nanoseconds until what is under way is sent again (RFC 6298)."""
        first = FIRST_TIMEOUT
        if self.smoothed:
            first = max(LEAST_TIMEOUT, self.smoothed + 4 * self.variation)
        return min(first << min(self.backoff, 16), LONGEST_TIMEOUT)

    def expired(self) -> None:
        """The guest has not answered in time."""
        if self.attempts >= ATTEMPTS:
            self.abort()
            return
        self.attempts += 1
        self.backoff += 1
        self.duplicates = 0
        self.deadline = self.tcp.now + self.timeout
        if self.send_una != self.send_next:
            self.recover = self.send_next
            self.send_again()
        elif self.readable:
            self._probe()
        else:
            self.deadline = 0

    def _probe(self) -> None:
        """Send into a window that is closed or too small: the answer tells whether it still is."""
        try:
            data = self.line.recv(min(max(1, self.window), self.segment))
        except BlockingIOError:
            self.readable, self.deadline = False, 0
            return
        except OSError:
            self.abort()
            return
        if data:
            self.probing = not self.window
            self._send(data)
        else:
            self._finish()

    def _start_timer(self) -> None:
        self.deadline = self.tcp.now + self.timeout
        self.tcp.watch_time(self)

    def _measured(self, nanoseconds: int) -> None:
        """The time from a segment to its acknowledgement (RFC 6298, section 2)."""
        if not self.smoothed:
            self.smoothed, self.variation = nanoseconds, nanoseconds >> 1
        else:
            off = abs(self.smoothed - nanoseconds)
            self.variation += (off - self.variation) >> 2
            self.smoothed += (nanoseconds - self.smoothed) >> 3

    def abort(self) -> None:
        """End the connection by force on both sides."""
        raise NotImplementedError
