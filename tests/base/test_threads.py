"""The end of a thread."""

import os
import threading
from collections.abc import Iterable

import pytest

from bimetal.base.threads import Beside, EndingThread, share_out
from tests.interrupting import interrupted


def test_a_wait_that_is_interrupted_does_not_end_the_thread() -> None:
    go_on = threading.Event()

    def work() -> None:
        go_on.wait()

    thread = EndingThread(work, "waiting")
    thread.start()
    with interrupted():
        thread.ended()
    assert not thread.ended(0)
    go_on.set()
    assert thread.ended()


def test_nothing_is_waited_for_before_the_start() -> None:
    assert EndingThread(lambda: None, "idle").ended()


def test_work_is_shared_out_and_its_failures_are_told() -> None:
    done: list[int] = []
    share_out(range(100), done.extend)
    assert sorted(done) == list(range(100))

    def fail_at_99(numbers: Iterable[int]) -> None:
        for number in numbers:
            if number == 99:
                raise ValueError("the last")

    with pytest.raises(ValueError, match="the last"):
        share_out(range(100), fail_at_99)
    share_out([], fail_at_99)


def test_who_is_quick_takes_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    both, all_done = threading.Barrier(2, timeout=60), threading.Event()
    shares: list[list[int]] = []

    def work(numbers: Iterable[int]) -> None:
        share = list[int]()
        for number in numbers:
            share.append(number)
            if len(share) > 1:
                continue
            if both.wait() == 0:  # the slow one of the two
                assert all_done.wait(60)
        shares.append(share)
        all_done.set()

    share_out(range(100), work)
    assert sorted(map(len, shares)) == [1, 99]


def test_nothing_is_begun_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    both, here = threading.Barrier(2, timeout=60), threading.current_thread()
    begun: list[int] = []

    def work(numbers: Iterable[int]) -> None:
        for number in numbers:
            begun.append(number)
            both.wait()
            if threading.current_thread() is not here:
                raise ValueError("damaged")
            for thread in threading.enumerate():
                if thread.name == "helper":
                    thread.join(60)

    with pytest.raises(ValueError, match="damaged"):
        share_out(range(100), work)
    assert len(begun) == 2


def test_work_is_done_by_the_threads_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)))
    start, started, done = threading.Thread.start, list[threading.Thread](), list[int]()

    def start_one(self: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    share_out(range(100), done.extend)
    assert sorted(done) == list(range(100))


def test_work_beside_is_waited_for() -> None:
    go, done = threading.Event(), threading.Event()

    def work() -> None:
        assert go.wait(60)
        done.set()
        raise KeyError("lost")

    beside = Beside(work)
    go.set()
    beside.wait()
    assert done.is_set()
    with pytest.raises(KeyError, match="lost"):
        beside.result()
