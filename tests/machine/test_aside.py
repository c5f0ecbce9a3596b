"""Threads for work that waits for the host."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Event, get_ident

from bimetal.machine.aside import LIMIT, Threads

SECONDS = 60


class Called:
    """What the threads have called under the lock, as a reactor does it."""

    def __init__(self) -> None:
        self.calls: deque[Callable[[], None]] = deque()
        self.came = Event()
        self.failures: list[BaseException] = []
        self.threads = Threads(self.call, self.failures.append)

    def call(self, function: Callable[[], None]) -> None:
        self.calls.append(function)
        self.came.set()


def test_what_follows_is_called_once_after_all_jobs_and_by_who_has_the_lock() -> None:
    called, order, workers = Called(), list[str](), set[int]()

    def job() -> None:
        workers.add(get_ident())
        order.append("job")

    called.threads([job] * 20, lambda: order.append("done"))
    assert called.came.wait(SECONDS)
    assert order == ["job"] * 20
    called.calls.popleft()()
    assert order == ["job"] * 20 + ["done"]
    assert not called.calls
    assert get_ident() not in workers
    assert called.threads.stop(SECONDS)


def test_jobs_wait_side_by_side() -> None:
    called = Called()
    gates = [Event() for _ in range(LIMIT)]

    def meet(number: int) -> None:
        gates[number].set()
        assert all(gate.wait(SECONDS) for gate in gates)

    called.threads([lambda n=n: meet(n) for n in range(LIMIT)], lambda: None)  # type: ignore[misc]
    assert called.came.wait(SECONDS)
    assert not called.failures
    assert called.threads.stop(SECONDS)


def test_who_cannot_wait_for_the_call_finishes_himself() -> None:
    called, done = Called(), list[int]()
    work = called.threads([lambda: None], lambda: done.append(1))
    work.finish()
    assert done == [1]
    assert called.came.wait(SECONDS)
    called.calls.popleft()()
    assert done == [1]
    assert called.threads.stop(SECONDS)


def test_the_end_does_what_is_left_and_says_if_it_takes_too_long() -> None:
    called, go, done = Called(), Event(), list[int]()

    def job() -> None:
        go.wait(SECONDS)
        done.append(1)

    work = called.threads([job] * (2 * LIMIT), lambda: done.append(0))
    assert not called.threads.stop(0.01)
    go.set()
    assert called.threads.stop(SECONDS)
    work.finish()
    assert done == [1] * (2 * LIMIT) + [0]
    assert called.threads.stop(SECONDS)


def test_a_defect_is_reported_and_ends_the_work_all_the_same() -> None:
    called, done = Called(), list[int]()

    def job() -> None:
        raise RuntimeError("a defect")

    work = called.threads([job, lambda: done.append(1)], lambda: done.append(0))
    work.finish()
    assert done == [1, 0]
    assert [str(each) for each in called.failures] == ["a defect"]
    assert called.threads.stop(SECONDS)


def test_a_copy_of_the_process_has_threads_of_its_own() -> None:
    called, done = Called(), list[int]()
    called.threads([lambda: None], lambda: None).finish()
    assert called.threads.stop(SECONDS)
    called.threads.forked()
    called.threads([lambda: done.append(1)], lambda: None).finish()
    assert done == [1]
    assert called.threads.stop(SECONDS)
