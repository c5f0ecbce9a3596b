"""Whatever happens to segments on the cable, the streams of a connection come out exact."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bimetal.backends.net.user.tcp.early import Early
from bimetal.base.clock import VirtualClock
from tests.backends.net.user.cable import Plugged, plugged
from tests.backends.net.user.peer import ACK, FIN, MASK, PSH, Listener, Peer

SECOND = 1_000_000_000

NORMAL = settings(
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
LONG = settings(NORMAL, max_examples=3000, derandomize=False)

SIZE = 6000

starts = st.sampled_from([1000, 0, MASK, MASK - 3000, (1 << 31) - 3000])
"""Where the guest's sequence numbers begin: nowhere special, and where they wrap."""

pieces = st.tuples(st.integers(-200, SIZE + 200), st.integers(0, 2000))
"""A segment by its position in the stream and its length."""


@dataclass
class Bench:
    """A network with a guest and a server that all examples of a test share."""

    at: Plugged
    clock: VirtualClock
    server: Listener
    ports: Iterator[int] = field(default_factory=lambda: itertools.cycle(range(20000, 60000)))

    @contextlib.contextmanager
    def connection(self, sequence: int = 1000) -> Iterator[tuple[Peer, socket.socket]]:
        peer = Peer(self.at, self.server.port, next(self.ports), sequence)
        peer.connect()
        with self.server.accept() as line:
            yield peer, line
            self.at.send(peer.frame(4, peer.sent))
            self.at.turns()


@pytest.fixture
def bench() -> Iterator[Bench]:
    clock = VirtualClock()
    with plugged(clock=clock) as at, Listener() as server:
        at.learn()
        yield Bench(at, clock, server)


def read(line: socket.socket) -> bytes:
    """What has come to a socket."""
    line.setblocking(False)
    result = b""
    with contextlib.suppress(BlockingIOError):
        while data := line.recv(1 << 16):
            result += data
    return result


def from_the_guest(
    bench: Bench, sequence: int, order: list[tuple[int, int]], batch: int, seed: int
) -> None:
    data = random.Random(seed).randbytes(SIZE)
    with bench.connection(sequence) as (peer, line):
        peer.sent = SIZE + 1
        frames = []
        for position, length in order:
            start = max(position, 0)
            there = data[start : max(start, position + length)]
            before = bytes(start - position) if position < 0 else b""  # long ago, whatever it was
            flags = ACK | PSH | (FIN if start + len(there) == SIZE else 0)
            frames.append(peer.frame(flags, position, before[:length] + there))
        for at in range(0, len(frames), batch):
            bench.at.send(*frames[at : at + batch])
            peer.take()
        for _ in range(SIZE):  # now as a guest does that has to send something again
            if peer.acknowledged > SIZE:
                break
            at = peer.acknowledged
            flags = ACK | (FIN if at + 1000 >= SIZE else 0)
            bench.at.send(peer.frame(flags, at, data[at : at + 1000]))
            peer.take()
        assert peer.acknowledged == SIZE + 1
        bench.at.turns()
        got = read(line)
        assert got == data
        assert line.recv(1) == b""


guest_streams = given(
    sequence=starts,
    order=st.lists(pieces, max_size=30),
    batch=st.integers(1, 10),
    seed=st.integers(0, 1 << 32),
)


@NORMAL
@guest_streams
def test_segments_of_the_guest_in_any_order(
    bench: Bench, sequence: int, order: list[tuple[int, int]], batch: int, seed: int
) -> None:
    from_the_guest(bench, sequence, order, batch, seed)


@pytest.mark.slow
@LONG
@guest_streams
def test_segments_of_the_guest_in_any_order_at_length(
    bench: Bench, sequence: int, order: list[tuple[int, int]], batch: int, seed: int
) -> None:
    from_the_guest(bench, sequence, order, batch, seed)


@dataclass(frozen=True)
class Moment:
    """What happens next: how much the host sends, which segments get lost, whether and for which
    window the guest acknowledges, and how much time passes."""

    sent: int
    lost: int
    acknowledges: bool
    window: int
    passes: int


moments = st.builds(
    Moment,
    sent=st.sampled_from([0, 1, 10, 1460, 3000, 40000, 100000]),
    lost=st.integers(0, 255),
    acknowledges=st.booleans(),
    window=st.sampled_from([0, 1, 8, 12, 100, 2000, 0xFFFF]),
    passes=st.sampled_from([0, 0, 0, SECOND // 2, 3 * SECOND]),
)


def from_the_host(bench: Bench, plan: list[Moment], seed: int) -> None:
    data = random.Random(seed).randbytes(sum(each.sent for each in plan))
    with bench.connection() as (peer, line):
        given = 0
        for each in plan:
            line.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                given += line.send(data[given : given + each.sent]) if each.sent else 0
            bench.at.turns()
            peer.take(each.lost)
            peer.window = each.window
            if each.acknowledges:
                peer.acknowledge()
            bench.clock.advance(each.passes)
        line.shutdown(socket.SHUT_WR)
        peer.window = 0xFFFF
        for _ in range(1000):
            if peer.finished and len(peer.got) == given:
                break
            peer.acknowledge()
            bench.at.turns(1)
            if not peer.take():
                bench.clock.advance(70 * SECOND)
                peer.take()
        assert peer.got == data[:given]
        assert peer.finished
        peer.acknowledge()
        assert not bench.at.network._tcp.held, "all that was acknowledged is given back"


host_streams = given(plan=st.lists(moments, max_size=20), seed=st.integers(0, 1 << 32))


@NORMAL
@host_streams
def test_segments_for_the_guest_that_get_lost(bench: Bench, plan: list[Moment], seed: int) -> None:
    from_the_host(bench, plan, seed)


@pytest.mark.slow
@LONG
@host_streams
def test_segments_for_the_guest_that_get_lost_at_length(
    bench: Bench, plan: list[Moment], seed: int
) -> None:
    from_the_host(bench, plan, seed)


@settings(NORMAL, max_examples=200)
@given(
    base=starts,
    order=st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), max_size=40),
    steps=st.lists(st.integers(0, 80), max_size=10),
)
def test_what_comes_early_is_kept_until_its_turn(
    base: int, order: list[tuple[int, int]], steps: list[int]
) -> None:
    data = bytes(index % 251 for index in range(400))
    early, position, kept = Early(), 0, set[int]()
    for at, length in order:
        early.add(base + at & MASK, data[at : at + length])
        kept |= set(range(at, at + length))
    for step in steps:
        position += step
        taken = early.take(base + position & MASK)
        assert taken == data[position : position + len(taken)]
        end = position + len(taken)
        assert end not in kept or (end == position and position not in kept)
        position = end
    assert early.size >= 0


def test_any_number_of_early_pieces_costs_no_more_memory_than_a_few() -> None:
    early = Early()
    for position in range(0, 100_000, 2):
        early.add(position, b"x")
    assert early.size <= 64
