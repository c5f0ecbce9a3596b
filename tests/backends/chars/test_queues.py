"""Inbox, outbox and ring: bounded queues in both directions."""

from __future__ import annotations

import errno
import os
import threading

from bimetal.backends.chars.inbox import Inbox
from bimetal.backends.chars.outbox import Outbox
from bimetal.backends.chars.ring import Ring
from bimetal.backends.chars.tee import Tee
from bimetal.base.log import EventLog

DROPPED = "host error: output dropped, the reader is too slow or gone"


class Fifo:
    """A device with room for ``size`` bytes that reads at its own pace."""

    def __init__(self, size: int):
        self.size = size
        self.held = b""

    def receive(self, data: bytes) -> None:
        assert len(data) <= self.room()
        self.held += data

    def room(self) -> int:
        return self.size - len(self.held)

    def take(self) -> bytes:
        taken, self.held = self.held, b""
        return taken


def test_input_waits_for_a_device_and_for_room() -> None:
    inbox, fifo = Inbox(limit=10), Fifo(4)
    assert inbox.put(b"abcdef") == 6
    inbox.connect(fifo.receive, fifo.room)
    assert fifo.held == b"abcd"
    assert inbox.put(b"ghijklmnop") == 8, "what is beyond the limit is not taken"
    assert inbox.space == 0
    seen = fifo.take()
    while inbox.space < 10:
        inbox.deliver()
        seen += fifo.take()
    assert seen == b"abcdefghijklmn"


def test_a_device_without_limits_takes_all_at_once() -> None:
    inbox = Inbox()
    seen: list[bytes] = []
    inbox.put(b"early")
    inbox.connect(seen.append, None)
    inbox.put(b"late")
    assert seen == [b"early", b"late"]


def test_a_device_may_ask_for_more_from_inside_receive() -> None:
    inbox = Inbox()
    seen: list[bytes] = []

    def receive(data: bytes) -> None:
        seen.append(data)
        inbox.deliver()

    inbox.connect(receive, lambda: 1)
    inbox.put(b"abc")
    assert seen == [b"a", b"b", b"c"]


class Sink:
    """What a descriptor does: takes ``accepts`` bytes, then would block."""

    def __init__(self, accepts: int = 0):
        self.accepts = accepts
        self.taken = b""
        self.error = 0

    def send(self, fd: int, data: bytes | bytearray) -> int:
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        count = min(self.accepts, len(data))
        if count == 0:
            raise BlockingIOError
        self.accepts -= count
        self.taken += bytes(data[:count])
        return count


def make_outbox(sink: Sink, limit: int) -> tuple[Outbox, EventLog, list[str]]:
    log, gone = EventLog("test"), list[str]()
    return Outbox(log, 1, sink.send, lambda: gone.append("gone"), limit), log, gone


def test_output_keeps_its_order_through_a_slow_reader() -> None:
    sink = Sink(accepts=3)
    outbox, log, _ = make_outbox(sink, 100)
    outbox.write(b"hello ")
    outbox.write(b"world")
    assert sink.taken == b"hel"
    sink.accepts = 4
    outbox.flush()
    sink.accepts = 100
    outbox.write(b"!")
    assert sink.taken == b"hello world!"
    assert outbox.dropped == 0
    assert not log.counts


def test_of_output_beyond_the_limit_the_oldest_is_dropped_and_counted() -> None:
    sink = Sink()
    outbox, log, _ = make_outbox(sink, 8)
    outbox.write(b"0123456789")
    outbox.write(b"abc")
    assert outbox.dropped == 5
    assert log.counts == {DROPPED: 2}
    sink.accepts = 100
    outbox.flush()
    outbox.write(b"later")
    assert sink.taken == b"56789abclater"


def test_a_reader_that_has_gone_ends_the_output() -> None:
    sink = Sink()
    outbox, log, gone = make_outbox(sink, 100)
    outbox.write(b"waiting")
    sink.error = errno.EPIPE
    outbox.flush()
    assert gone == ["gone"]
    assert outbox.dropped == 7
    outbox.write(b"more")
    assert log.counts == {}, "no error of the host"


def test_a_full_disk_costs_output_but_not_the_line() -> None:
    sink = Sink(accepts=100)
    outbox, log, gone = make_outbox(sink, 100)
    sink.error = errno.ENOSPC
    outbox.write(b"lost")
    sink.error = 0
    outbox.write(b"kept")
    assert sink.taken == b"kept"
    assert gone == []
    assert log.counts["host error: output cannot be written"] == 1


def test_last_words_reach_a_slow_reader() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    outbox = Outbox(EventLog("test"), write_end, os.write, lambda: None)
    data, got = os.urandom(300_000), bytearray()
    outbox.write(data)

    def read() -> None:
        while piece := os.read(read_end, 1000):
            got.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()
    outbox.close()
    outbox.close()
    os.close(write_end)
    reader.join()
    os.close(read_end)
    assert bytes(got) == data
    assert outbox.dropped == 0


def test_a_reader_that_takes_for_ever_is_not_waited_for() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    outbox, closed = Outbox(EventLog("test"), write_end, os.write, lambda: None), threading.Event()
    outbox.write(bytes(1 << 20))

    def read() -> None:
        while not closed.wait(0.01):
            os.read(read_end, 1)

    reader = threading.Thread(target=read)
    reader.start()
    outbox.close(0.2)
    closed.set()
    reader.join()
    os.close(write_end)
    os.close(read_end)
    assert outbox.dropped > 900_000


def test_a_ring_keeps_the_newest_output() -> None:
    ring, heard = Ring(limit=8), list[int]()
    ring.on_output = lambda: heard.append(ring.total)
    ring.write(b"hello ")
    ring.write(b"world")
    assert ring.output == b"lo world"
    assert heard == [6, 11]
    assert ring.since(6) == b"world"
    assert ring.since(0) == b"lo world"
    assert ring.since(11) == b""
    assert ring.since(99) == b""


def test_a_tee_has_several_far_ends() -> None:
    first, second, seen = Ring(), Ring(), list[bytes]()
    tee = Tee(first, second)
    tee.connect(seen.append)
    tee.write(b"out")
    first.send(b"one")
    second.send(b"two")
    assert (first.output, second.output) == (b"out", b"out")
    assert seen == [b"one", b"two"]
