"""A TCP connection between a program in the guest and a socket of the host."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Sequence
from errno import ECONNREFUSED
from typing import TYPE_CHECKING

from bimetal.backends.net.user.poller import ERROR, HANG_UP, READ, WRITE
from bimetal.backends.net.user.tcp.early import Early
from bimetal.backends.net.user.tcp.segments import (
    ACK,
    FIN,
    RST,
    SYN,
    Segment,
    Template4,
    Template6,
    peer_options,
)
from bimetal.backends.net.user.tcp.sending import MASK, SHIFT, WINDOW, Sending, State

if TYPE_CHECKING:
    from bimetal.backends.net.user.tcp.table import Tcp

__all__ = ["Connection"]

HALF = 1 << 31

ORDINARY = FIN | SYN | RST | ACK
"""The flags by which a segment is told from one that only carries data and acknowledges."""

LINGER_SECONDS = 5
"""For how long a connection that has ended answers who has not heard the last word."""

_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER for a close that resets the connection."""

Pieces = Sequence[memoryview | bytes | bytearray]


class Connection(Sending):
    """The half that carries what the guest sends, and the life of the whole.

    ``key`` is that of its template. What the guest sends goes to the host's socket out of the
    guest's own memory; only what the socket does not take at once is copied.
    """

    __slots__ = ("_early", "guest_finished")

    def __init__(self, tcp: Tcp, key: bytes, template: Template4 | Template6, line: socket.socket):
        super().__init__(tcp, key, template, line)
        self.guest_finished = False
        self._early: Early | None = None

    # Its beginning

    def asked(self, segment: Segment) -> None:
        """The guest has asked for a connection by a SYN, while the host's socket connects."""
        self.receive_next = segment.sequence + 1 & MASK
        self._options(segment.options)
        self.window_told(segment.window)

    def is_over_for(self, segment: Segment) -> bool:
        """Whether the guest begins anew by ``segment``, a SYN: it has forgotten this connection,
        which had ended or not yet begun."""
        again = segment.sequence + 1 & MASK == self.receive_next
        unfinished = self.state in (State.CONNECTING, State.DONE)
        return unfinished and not again and not segment.flags & (ACK | RST)

    def ask(self) -> None:
        """Ask the guest for a connection, the host's socket being there."""
        self.state, self.shift = State.SYN_SENT, SHIFT
        self._open_with_syn()

    def connected(self) -> None:
        """The host's socket is connected: so is the guest."""
        self.state = State.SYN_RECEIVED
        self._open_with_syn()

    def _open_with_syn(self) -> None:
        self.emit_syn()
        self.send_next = self.send_una + 1 & MASK
        self._start_timer()

    def _options(self, data: bytes) -> None:
        segment, shift = peer_options(data)
        self.peer_shift, self.shift = (shift, SHIFT) if shift is not None else (0, 0)
        self.use(self.tcp.template(self.key, self.template.ends, segment))

    # What the host's socket reports

    def event(self, events: int) -> None:
        """Something has changed at the socket."""
        if self.state == State.CONNECTING:
            if events & (WRITE | ERROR):
                error = self.line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    self.refused(error)
                    return
                self.connected()
            else:
                return
        if events & (READ | HANG_UP):
            self.readable = True
            if events & HANG_UP:
                self.hung_up = True
        if events & WRITE and self.backlog:
            self._drain()
        self.pump()

    def refused(self, error: int) -> None:
        """The host cannot connect: the guest hears why."""
        sequence, key = self.receive_next - 1 & MASK, self.key
        if error == ECONNREFUSED:
            self.send_next = 0
            self.emit_reset()
        self._forget()
        if error != ECONNREFUSED:
            self.tcp.unreachable(key, sequence, error)

    # What the guest sends

    def arrived(self, segment: Segment) -> None:
        """A segment has come (RFC 9293, 3.10.7)."""
        sequence, acknowledged, flags, window, _, pieces, length = segment
        self.attempts = 0
        if (
            sequence != self.receive_next
            or flags & ORDINARY != ACK
            or self.state != State.OPEN
            or self._early is not None
        ):
            self._unusual(segment)
            return
        if self._answers(acknowledged, window, length):
            if length:
                self._take(pieces, length)
            if self.readable:
                self.pump()
            elif self.fin_sent:
                self._end_if_done()

    def _answers(self, acknowledged: int, window: int, length: int) -> bool:
        """Take note of what the guest acknowledges; False if that was never sent."""
        count = acknowledged - self.send_una & MASK
        window <<= self.peer_shift
        if count:
            if count > (self.send_next - self.send_una & MASK):
                if count < HALF:
                    self.acknowledge()
                    return False
                return True  # an old one, overtaken by others
            self.acknowledged(count)
        elif not length and window == self.window and self.send_una != self.send_next:
            self.acknowledged_again()
        if window != self.window:
            self.window_told(window)
        return True

    def _unusual(self, segment: Segment) -> None:
        """Any segment: one out of its order, the first or the last one, or a wrong one."""
        if self.state == State.SYN_SENT:
            self._while_asking(segment)
            return
        sequence, acknowledged, flags, window, _, pieces, length = segment
        ahead = (sequence - self.receive_next + HALF & MASK) - HALF
        if flags & RST:
            if ahead == 0:
                self.close_by_force()
            elif 0 < ahead < WINDOW and self.state == State.OPEN:
                self.acknowledge()  # RFC 5961, section 3.2
            return
        if self.state == State.CONNECTING:
            return
        if flags & SYN or not flags & ACK:
            if flags & SYN and self.state == State.SYN_RECEIVED and ahead == -1:
                self.emit_syn()
            elif flags & SYN:
                self.acknowledge()  # RFC 5961, section 4.2
            return
        if self.state == State.SYN_RECEIVED:
            if acknowledged != self.send_next:
                self.tcp.reset(self.key, self.template.ends, acknowledged)
                return
            self.state = State.OPEN
        if ahead < 0:
            self.ack_due = True
            if -ahead > length:  # all of it has come before, with the FIN if there is one
                pieces, length, flags = (), 0, flags & ~FIN
            else:
                pieces, length = (b"".join(pieces)[-ahead:],), length + ahead
            window = self.window >> self.peer_shift
        # What is out of order is no sign that the guest misses something of ours.
        if not self._answers(acknowledged, window, 1 if ahead else length):
            return
        if ahead > 0:
            self._keep(sequence, pieces, length)
            self.acknowledge()
        elif self._take(pieces, length) and flags & FIN and not self.guest_finished:
            self._guest_finished()
        if self.ack_due:
            self.acknowledge()
        if self.state == State.OPEN:
            self.pump()
            self._end_if_done()

    def _while_asking(self, segment: Segment) -> None:
        """A segment in answer to our own SYN."""
        sequence, acknowledged, flags, window, options, *_ = segment
        if flags & ACK and acknowledged != self.send_next:
            if not flags & RST:
                self.tcp.reset(self.key, self.template.ends, acknowledged)
        elif flags & RST:
            if flags & ACK:
                self.close_by_force()
        elif flags & SYN and flags & ACK:
            self.receive_next = sequence + 1 & MASK
            self._options(options)
            self.state = State.OPEN
            self._answers(acknowledged, 0, 0)
            self.window_told(window)
            self.acknowledge()
            self.pump()

    def _keep(self, sequence: int, pieces: Pieces, length: int) -> None:
        """Keep a segment that came before its turn, as far as it is in the window."""
        room = self.edge - sequence & MASK
        if length and room < HALF and self.tcp.has_memory and not self.guest_finished:
            early = self._early = self._early or Early()
            before = early.size
            early.add(sequence, b"".join(pieces)[:room])
            self.tcp.held += early.size - before

    def _take(self, pieces: Pieces, length: int) -> bool:
        """Pass on ``length`` bytes, the next of the stream; whether they were all taken."""
        if not length or self.guest_finished:
            return True
        room = self.edge - self.receive_next & MASK
        whole = length <= room
        if not whole:
            pieces, length = (b"".join(pieces)[:room],), room
        if length:
            taken = self._pass_on(pieces, length)
            self.receive_next = self.receive_next + taken & MASK
            whole = whole and taken == length
        if self._early is not None and self._take_early(self._early):
            whole = False  # a FIN belongs behind what was passed on: it will come again
        if self.state == State.OPEN:
            self.tcp.ack_soon(self)
        return whole

    def _take_early(self, early: Early) -> bool:
        """Pass on what came before its turn and has it now; whether there was any."""
        before = early.size
        more = early.take(self.receive_next)
        self.tcp.held -= before - early.size
        if not early.size:
            self._early = None
        if more:
            self.receive_next = self.receive_next + self._pass_on((more,), len(more)) & MASK
        return bool(more)

    def _pass_on(self, pieces: Pieces, length: int) -> int:
        """Give bytes to the host's socket, or keep them for it; how many there was room for."""
        sent = 0
        if not self.backlog:
            try:
                if len(pieces) == 1:
                    sent = self.line.send(pieces[0], socket.MSG_NOSIGNAL)
                else:
                    sent = self.line.sendmsg(pieces, (), socket.MSG_NOSIGNAL)
            except BlockingIOError:
                pass
            except OSError:
                self.abort()
                return length
            if sent == length:
                return length
        if not self.tcp.has_memory:
            return sent
        self.backlog += b"".join(pieces)[sent:]
        self.tcp.held += length - sent
        return length

    def _drain(self) -> None:
        """Give the host's socket what it had no room for."""
        before = len(self.backlog)
        try:
            while self.backlog:
                sent = self.line.send(self.backlog, socket.MSG_NOSIGNAL)
                del self.backlog[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.tcp.held -= before - len(self.backlog)
            self.abort()
            return
        self.tcp.held -= before - len(self.backlog)
        if self.guest_finished:
            if not self.backlog:
                self._shut()
        elif len(self.backlog) < WINDOW // 2 <= WINDOW - (self.edge - self.receive_next & MASK):
            self.acknowledge()  # the window was nearly closed and is open again

    # Its end

    def _guest_finished(self) -> None:
        """The guest has said all."""
        self.guest_finished = self.ack_due = True
        self.receive_next = self.receive_next + 1 & MASK
        if not self.backlog:
            self._shut()

    def _shut(self) -> None:
        """Tell the host's peer that nothing more will come."""
        try:
            self.line.shutdown(socket.SHUT_WR)
        except OSError:
            self.hung_up = self.readable = True  # reading tells what is wrong
        self._end_if_done()

    def _end_if_done(self) -> None:
        """End in good order, once both have said all and know it."""
        if (
            self.state == State.OPEN
            and self.guest_finished
            and not self.backlog
            and self.fin_sent
            and self.send_una == self.send_next
        ):
            if self.ack_due:
                self.acknowledge()
            self._release()
            self.state = State.DONE
            self.deadline = self.tcp.now + LINGER_SECONDS * 1_000_000_000
            self.tcp.watch_time(self)

    def expired(self) -> None:
        if self.state == State.DONE:
            self._forget()
        else:
            super().expired()

    def abort(self) -> None:
        """End by force: the guest is told, and the host's peer."""
        if self.state not in (State.DONE, State.CLOSED):
            self.emit_reset()
            self.close_by_force()

    def close_by_force(self) -> None:
        """End without a word to the guest; the host's peer sees a reset."""
        if self.state != State.CLOSED:
            with contextlib.suppress(OSError):  # not every kind of socket knows that; may be closed
                self.line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            self._forget()

    def _forget(self) -> None:
        self._release()
        self.state, self.deadline = State.CLOSED, 0
        self.tcp.forget(self)

    def _release(self) -> None:
        """Give back the socket and what is kept."""
        tcp = self.tcp
        tcp.release(self.line)
        tcp.held -= len(self.backlog) + sum(map(len, self.unacked))
        tcp.held -= self._early.size if self._early else 0
        self.backlog.clear()
        self.unacked.clear()
        self._early = None
        self.readable = self.ack_due = False
