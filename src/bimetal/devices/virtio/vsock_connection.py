"""A connection between a port of the guest and one of the host (virtio 1.2, 5.10.6.3): how many
bytes each side may still send, and what waits for that."""

from __future__ import annotations

from typing import Protocol

from bimetal.devices.virtio.vsock_packets import RECEIVE_END, SEND_END, Op

__all__ = ["WINDOW", "Connection", "Owner", "Stream"]

WINDOW = 256 << 10
"""Bytes of the guest's that wait for the host at most."""

INCOMING_LIMIT = 64 << 10
"""Bytes of the host's that wait for the guest; more stay in the host's socket."""

WRAP = 0xFFFF_FFFF


class Stream(Protocol):
    """The host's end of a connection, as the device needs it. Nothing raises or blocks."""

    def begin(self, end: Connection) -> None:
        """Whatever comes from now on is for ``end``."""

    def write(self, data: bytes) -> int:
        """Send ``data``; how many bytes are gone already. Of the others `Connection.drained` hears
        later."""

    def established(self, port: int) -> None:
        """The guest has accepted; ``port`` is the host's."""

    def read_on(self) -> None:
        """There is room again, after `Connection.room` was 0."""

    def end(self) -> None:
        """Nothing follows what was written."""

    def close(self) -> None:
        """The connection is over, once what was written is gone."""


class Owner(Protocol):
    """The device, as its connections need it."""

    def say(self, connection: Connection, op: Op, flags: int = 0) -> None:
        """Send a packet without data."""

    def news(self, connection: Connection) -> None:
        """There may be something to send."""

    def drop(self, connection: Connection) -> None:
        """The connection is no more."""


class Connection:
    """A connection of ``guest_port`` to ``host_port``, whose far end is ``stream``. It is ``open``
    once both sides have agreed. Counts are modulo 2**32, as on the wire."""

    def __init__(self, owner: Owner, guest_port: int, host_port: int, stream: Stream):
        self._owner = owner
        self.guest_port, self.host_port, self._stream = guest_port, host_port, stream
        self.open = False
        self.forwarded = 0
        """How many bytes of the guest's are gone to the host."""
        self._taken = self._told = 0
        self._sent = self._guest_window = self._guest_forwarded = 0
        self._incoming = bytearray()
        self._asked = self._host_ended = self._end_told = False
        self._guest_ends = 0

    @property
    def key(self) -> tuple[int, int]:
        """What no other connection of the guest has: its port and the host's."""
        return self.guest_port, self.host_port

    # What the guest says

    def credit(self, window: int, forwarded: int) -> None:
        """The guest has a buffer of ``window`` bytes, and has used ``forwarded`` so far."""
        self._guest_window, self._guest_forwarded = window, forwarded
        self._asked = False
        self._owner.news(self)

    def accepted(self) -> None:
        """Both sides have agreed."""
        self.open = True
        self._stream.established(self.host_port)

    def fits(self, length: int) -> bool:
        """Whether the guest may send that many bytes."""
        return self.open and length <= WINDOW - (self._taken - self.forwarded & WRAP)

    def take(self, data: bytes) -> None:
        """Send data of the guest, which `fits`, to the host."""
        if self._guest_ends & SEND_END:
            return
        self._taken = self._taken + len(data) & WRAP
        self.drained(self._stream.write(data))

    def shut_down(self, flags: int) -> None:
        """The guest will not receive, or not send, any more."""
        self._guest_ends |= flags & (RECEIVE_END | SEND_END)
        if self._guest_ends & RECEIVE_END:
            self._incoming.clear()
        if self._guest_ends & SEND_END:
            self._stream.end()
        if self._guest_ends == RECEIVE_END | SEND_END:
            self._owner.say(self, Op.RST)
            self.over()

    def over(self) -> None:
        """The connection is no more."""
        self._stream.close()
        self._owner.drop(self)

    # What the host's end says

    @property
    def room(self) -> int:
        """How many bytes `receive` takes just now."""
        return INCOMING_LIMIT - len(self._incoming)

    def receive(self, data: bytes) -> None:
        """Data of the host, at most as much as there is `room`."""
        if not self._guest_ends & RECEIVE_END:
            self._incoming += data
            self._owner.news(self)

    def drained(self, count: int) -> None:
        """Data of the guest is gone. The guest is told when it may need to know: when half of what
        it could send is used up."""
        self.forwarded = self.forwarded + count & WRAP
        if self.open and count and (self.forwarded - self._told & WRAP) >= WINDOW // 2:
            self._owner.say(self, Op.CREDIT_UPDATE)

    def host_ended(self) -> None:
        """Nothing follows what was received."""
        self._host_ended = True
        self._owner.news(self)

    def host_gone(self) -> None:
        """Nobody is there any more."""
        self._owner.say(self, Op.RST)
        self.over()

    # What is sent to the guest

    @property
    def sendable(self) -> bool:
        """Whether `next_data` has something, or the end is to be told."""
        if self._incoming:
            return self.open and self._credit > 0
        return self.open and self._host_ended and not self._end_told

    def want_credit(self) -> None:
        """Ask for credit, once, if data waits for it."""
        if self.open and self._incoming and not self._credit and not self._asked:
            self._asked = True
            self._owner.say(self, Op.CREDIT_REQUEST)

    def next_data(self, limit: int) -> bytes:
        """Up to ``limit`` bytes for the guest; none where there is no room or no credit."""
        data = bytes(self._incoming[: min(limit, self._credit)])
        if data:
            del self._incoming[: len(data)]
            self._sent = self._sent + len(data) & WRAP
            self._stream.read_on()
        return data

    def tell_end(self) -> bool:
        """Whether the guest is to be told, now, that nothing follows."""
        telling = self.sendable and not self._incoming
        self._end_told |= telling
        return telling

    def told(self) -> int:
        """The guest is told now how many bytes are gone; that number."""
        self._told = self.forwarded
        return self.forwarded

    @property
    def _credit(self) -> int:
        under_way = self._sent - self._guest_forwarded & WRAP
        return max(0, self._guest_window - under_way)
