"""The end of a thread."""

import threading
from collections.abc import Sequence

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

    def fail_at_the_last(numbers: Sequence[int]) -> None:
        if 99 in numbers:
            raise ValueError("the last")

    with pytest.raises(ValueError, match="the last"):
        share_out(range(100), fail_at_the_last)
    share_out([], fail_at_the_last)


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
