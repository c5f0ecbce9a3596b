"""A TCP peer played by a test: the guest's end of connections, one segment at a time.

It is told what to do and knows nothing of timers, windows or congestion; the tests decide what is
sent, in which order, and what gets lost.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from struct import Struct
from typing import NamedTuple

from bimetal.base.frames import Frame
from tests.backends.net.user.cable import GATEWAY_MAC, GUEST, MAC, Plugged, total

__all__ = ["ACK", "FIN", "GUEST6", "MASK", "PSH", "RST", "SYN", "Listener", "Peer", "Segment"]

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MASK = 0xFFFF_FFFF
GUEST6 = "fec0::15"

_TCP = Struct(">HHIIHHHH")
_ENDS = bytes.fromhex((GATEWAY_MAC + MAC).replace(":", ""))
OPTIONS = b"\x02\x04\x05\xb4\x01\x03\x03\x07"
"""Segments of 1460 bytes, windows in units of 128."""


class Segment(NamedTuple):
    """A segment that the guest has got."""

    source_port: int
    port: int
    sequence: int
    acknowledged: int
    flags: int
    window: int
    options: bytes
    data: bytes


def parse(frame: bytes) -> Segment | None:
    """The TCP segment in ``frame``, whose checksums have to be right."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind == 0x0800 and frame[23] == 6:
        assert total(frame[14:34]) == 0xFFFF
        end = 14 + int.from_bytes(frame[16:18], "big")
        addresses, body = frame[26:34], frame[34:end]
    elif kind == 0x86DD and frame[20] == 6:
        end = 54 + int.from_bytes(frame[18:20], "big")
        addresses, body = frame[22:54], frame[54:end]
    else:
        return None
    assert end == len(frame)
    assert total(addresses + bytes((0, 6)) + len(body).to_bytes(2, "big") + body) == 0xFFFF
    source_port, port, sequence, acknowledged, word, window, _, _ = _TCP.unpack_from(body)
    header = word >> 12 << 2
    options, data = body[20:header], body[header:]
    flags = word & 0xFF
    return Segment(source_port, port, sequence, acknowledged, flags, window, options, data)


class Listener:
    """A server of the host, on its loopback interface, that tests drive by hand."""

    def __init__(self, family: int = socket.AF_INET):
        host = "127.0.0.1" if family == socket.AF_INET else "::1"
        self.line = socket.create_server((host, 0), family=family, backlog=512)
        self.port: int = self.line.getsockname()[1]

    def accept(self) -> socket.socket:
        self.line.settimeout(60)
        line, _ = self.line.accept()
        line.settimeout(60)
        return line

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.line.close()


class Peer:
    """The guest's end of one connection. ``sequence`` is the number of its SYN."""

    def __init__(
        self,
        at: Plugged,
        port: int,
        own_port: int = 40000,
        sequence: int = 1000,
        there: str = "10.0.2.2",
    ):
        self.at, self.port, self.own_port = at, port, own_port
        self.here, self.there = GUEST if "." in there else GUEST6, there
        self.base = sequence + 1 & MASK
        """The sequence number of the first byte of data."""
        self.window = 0xFFFF
        """As it stands in segments, in units of 128 bytes."""
        self.sent = 0
        """How many bytes of data, and FIN, have been sent in order."""
        self.got = bytearray()
        """The stream that has come, as far as it has no gap."""
        self.start: int | None = None
        """The sequence number of the other's first byte of data."""
        self.early: dict[int, bytes] = {}
        self.finished_at: int | None = None
        self.acknowledged = 0
        """How many of our bytes the other has got."""
        self.reset = False
        self.segments: list[Segment] = []
        """Everything that has come."""

    # What it sends

    def frame(
        self,
        flags: int,
        position: int,
        data: bytes = b"",
        options: bytes = b"",
        acknowledged: int | None = None,
    ) -> Frame:
        """A segment; ``position`` counts from the first byte of data on."""
        if acknowledged is None:
            acknowledged = self.next_expected
        word = (20 + len(options)) // 4 << 12 | flags
        head = _TCP.pack(
            self.own_port, self.port, self.base + position & MASK, acknowledged,
            word, self.window, 0, 0,
        )  # fmt: skip
        body = bytearray(head + options + data)
        here, there = ip_address(self.here).packed, ip_address(self.there).packed
        pseudo = here + there + bytes((0, 6)) + len(body).to_bytes(2, "big")
        body[16:18] = (0xFFFF - total(pseudo + body)).to_bytes(2, "big")
        if len(here) == 16:
            head = b"\x86\xdd\x60\0\0\0" + len(body).to_bytes(2, "big") + b"\x06\x40" + here + there
        else:
            ip = bytearray(
                b"\x45\0" + (20 + len(body)).to_bytes(2, "big") + b"\0\1\0\0\x40\x06\0\0"
            )
            ip += here + there
            ip[10:12] = (0xFFFF - total(bytes(ip))).to_bytes(2, "big")
            head = b"\x08\x00" + bytes(ip)
        return Frame((memoryview(_ENDS + head + bytes(body)),))

    def send(self, data: bytes, flags: int = ACK | PSH) -> None:
        """Send what comes next in the stream."""
        self.at.send(self.frame(flags, self.sent, data))
        self.sent += len(data)

    def finish(self) -> None:
        """Send FIN."""
        self.at.send(self.frame(ACK | FIN, self.sent))
        self.sent += 1

    def acknowledge(self) -> None:
        """Tell what has come."""
        self.at.send(self.frame(ACK, self.sent))

    @property
    def next_expected(self) -> int:
        if self.start is None:
            return 0
        finished = self.finished_at is not None and len(self.got) >= self.finished_at
        return self.start + len(self.got) + finished & MASK

    # What it gets

    def take(self, lose: int = 0) -> list[Segment]:
        """What has come for this connection since last time, without some that are lost: bits of
        ``lose`` say which ones."""
        frames, self.at.cable.frames = self.at.cable.frames, []
        found = [parse(frame) for frame in frames]
        mine = [each for each in found if each is not None and each.port == self.own_port]
        kept = [each for number, each in enumerate(mine) if not lose >> number & 1]
        for each in kept:
            self._take(each)
        self.segments += kept
        return kept

    def _take(self, segment: Segment) -> None:
        if segment.flags & RST:
            self.reset = True
            return
        if segment.flags & SYN:
            self.start = segment.sequence + 1 & MASK
            self.acknowledged = max(self.acknowledged, 0)
            return
        if self.start is None:
            return
        assert segment.flags & ACK
        told = segment.acknowledged - self.base & MASK
        assert told <= self.sent, "it acknowledges what was never sent"
        self.acknowledged = max(self.acknowledged, told)
        position = segment.sequence - self.start & MASK
        if position >= 1 << 31:
            position -= 1 << 32
        if segment.flags & FIN:
            end = position + len(segment.data)
            assert self.finished_at in (None, end), "it has ended at two places"
            self.finished_at = end
        if segment.data:
            self.early[position] = max(segment.data, self.early.get(position, b""), key=len)
        for at in sorted(self.early):
            if at > len(self.got):
                break
            data = self.early.pop(at)
            known = self.got[at : at + len(data)]
            assert data[: len(known)] == known, "a byte is another one the second time"
            self.got += data[len(known) :]

    @property
    def finished(self) -> bool:
        """Whether the other has said all and it has come."""
        return self.finished_at is not None and len(self.got) == self.finished_at

    # Whole steps

    def ask(self) -> None:
        """Send SYN."""
        self.at.send(self.frame(SYN, -1, options=OPTIONS, acknowledged=0))

    def connect(self) -> None:
        """Have a connection with something on the host."""
        self.ask()
        self.at.until(self.answered)
        assert self.start is not None
        self.acknowledge()

    def answered(self) -> bool:
        """Whether the SYN has an answer."""
        self.take()
        return self.start is not None or self.reset
