"""The reactor: waiting on behalf of back ends, under somebody else's lock."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from types import TracebackType

import pytest

from bimetal.backends.reactor import Reactor


class CountingLock:
    """A lock that tells whether it is held, and how often it was taken."""

    def __init__(self) -> None:
        self.held = False
        self.taken = 0

    def __enter__(self) -> None:
        self.held = True
        self.taken += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.held = False


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor()
    yield reactor
    reactor.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    yield ends
    for end in ends:
        os.close(end)


def test_callbacks_run_under_the_lock(pipe: tuple[int, int]) -> None:
    lock = CountingLock()
    reactor = Reactor(lock)
    seen: list[tuple[bytes, bool]] = []
    reactor.watch(pipe[0], lambda: seen.append((os.read(pipe[0], 9), lock.held)))
    os.write(pipe[1], b"hello")
    reactor.turn()
    assert seen == [(b"hello", True)]
    assert not lock.held
    reactor.close()


def test_work_that_goes_on_and_on_delays_nobody(pipe: tuple[int, int]) -> None:
    lock = CountingLock()
    reactor = Reactor(lock)
    done: list[str] = []

    def go_on() -> None:
        done.append("work")
        reactor.call(go_on)

    reactor.watch(pipe[0], lambda: done.append(os.read(pipe[0], 9).decode()))
    reactor.call(go_on)
    reactor.call(go_on)
    reactor.turn()
    assert done == ["work", "work"]
    assert lock.taken == 1 + 2, "given up between any two"
    os.write(pipe[1], b"key")
    reactor.turn(None)
    assert done[2] == "key"
    reactor.close()


def test_a_watch_waits_only_for_what_it_wants(reactor: Reactor, pipe: tuple[int, int]) -> None:
    calls: list[str] = []
    reader = reactor.watch(pipe[0], on_readable=lambda: calls.append("read"))
    writer = reactor.watch(pipe[1], on_writable=lambda: calls.append("write"))
    reactor.turn()
    assert calls == []
    writer.writing = True
    reactor.turn()
    assert calls == ["write"]
    writer.writing = False
    os.write(pipe[1], b"x")
    reader.reading = False
    reactor.turn()
    assert calls == ["write"]
    reader.reading = True
    reactor.turn()
    assert calls == ["write", "read"]


def test_a_callback_may_close_another_watch(reactor: Reactor) -> None:
    first, second = os.pipe(), os.pipe()
    calls: list[str] = []

    def close_the_other(name: str, other: int) -> None:
        calls.append(name)
        watches[other].close()

    watches = [
        reactor.watch(first[0], lambda: close_the_other("first", 1)),
        reactor.watch(second[0], lambda: close_the_other("second", 0)),
    ]
    os.write(first[1], b"x")
    os.write(second[1], b"x")
    reactor.turn()
    assert len(calls) == 1
    for fd in first + second:
        os.close(fd)


def test_a_closed_number_may_come_back_as_another_descriptor(reactor: Reactor) -> None:
    calls: list[str] = []
    old = os.pipe()
    watch = reactor.watch(old[0], lambda: calls.append("old"))
    reactor.turn()
    watch.close()
    for fd in old:
        os.close(fd)
    new = os.pipe()
    assert new[0] == old[0]
    reactor.watch(new[0], lambda: calls.append("new"))
    watch.close()
    watch.reading = True
    os.write(new[1], b"x")
    reactor.turn()
    assert calls == ["new"]
    for fd in new:
        os.close(fd)


def test_regular_files_and_dev_null_are_always_ready(reactor: Reactor) -> None:
    with open("/dev/null", "rb", buffering=0) as null, open(__file__, "rb", buffering=0) as file:
        seen: list[bytes | None] = []
        reactor.watch(null.fileno(), lambda: seen.append(null.read(3)))
        watch = reactor.watch(file.fileno(), lambda: seen.append(file.read(3)))
        reactor.turn()
        assert sorted(filter(None, seen)) == [b'"""']
        watch.close()


def test_another_thread_may_call_wake_and_stop() -> None:
    reactor = Reactor(threading.Lock())
    done = threading.Event()
    thread = threading.Thread(target=reactor.run)
    thread.start()
    reactor.call(done.set)
    assert done.wait(10)
    reactor.stop()
    thread.join(10)
    assert not thread.is_alive()
    reactor.close()
    reactor.close()


def test_a_wish_from_another_thread_is_heard_while_waiting(pipe: tuple[int, int]) -> None:
    lock = threading.Lock()
    reactor = Reactor(lock)
    waiting, heard = threading.Event(), threading.Event()

    def on_writable() -> None:
        watch.writing = False
        heard.set()

    watch = reactor.watch(pipe[1], on_writable=on_writable)
    thread = threading.Thread(target=reactor.run)
    thread.start()
    reactor.call(waiting.set)
    assert waiting.wait(10)
    with lock:
        watch.writing = True
    assert heard.wait(10)
    reactor.stop()
    thread.join(10)
    reactor.close()


def test_what_was_asked_for_while_all_stood_still_is_done_afterwards(reactor: Reactor) -> None:
    done = threading.Event()
    reactor.still = True
    reactor.call(done.set)
    reactor.turn()  # hears that it was called for something
    assert not done.is_set()
    reactor.still = False
    thread = threading.Thread(target=reactor.run)
    thread.start()
    try:
        assert done.wait(10)
    finally:
        reactor.stop()
        thread.join()


def test_a_stop_before_the_start_is_not_lost() -> None:
    reactor = Reactor()
    reactor.stop()
    reactor.run()
    reactor.close()


def test_a_descriptor_may_be_read_and_written_by_two_parties(reactor: Reactor) -> None:
    here, there = socket.socketpair()
    here.setblocking(False)
    heard: list[bytes] = []
    reader = reactor.watch(here.fileno(), lambda: heard.append(here.recv(9)))
    writer = reactor.watch(here.fileno(), on_writable=lambda: stop_writing())

    def stop_writing() -> None:
        writer.writing = False

    writer.writing = True
    reactor.turn()
    assert not writer.writing
    there.send(b"one")
    reactor.turn(1)
    writer.close()
    there.send(b"two")
    reactor.turn(1)
    assert heard == [b"one", b"two"]
    reader.close()
    for end in (here, there):
        end.close()


def test_timers_of_the_hosts_time(reactor: Reactor) -> None:
    fired: list[str] = []
    first = reactor.clock.timer(lambda: fired.append("first"))
    second = reactor.clock.timer(lambda: fired.append("second"))
    second.arm(reactor.clock.now_ns() + 20_000_000)
    first.arm(reactor.clock.now_ns() + 10_000_000)
    while len(fired) < 2:
        reactor.turn(None)
    assert fired == ["first", "second"]
