"""Orders to the translator: answered in their order, whatever becomes of its process."""

from __future__ import annotations

import logging
from collections import deque

import pytest

from bimetal.accel.code_page import CodePage
from bimetal.accel.order import Order
from bimetal.accel.orders import ANSWERS, REPLACEMENTS, Orders
from bimetal.codegen.job import Compiled, Job
from bimetal.codegen.worker import OtherEngine, WorkerLost
from bimetal.isa.riscv import rv64


class Fragile:
    """A worker that is lost at jobs called so, and at every so many jobs."""

    made = 0
    every = 0

    def __init__(self, isa: object, shared: bool):
        type(self).made += 1
        self.jobs = deque[Job]()
        self.done = 0

    def submit(self, job: Job) -> bool:
        if job.symbol == "no more":
            return False
        self.jobs.append(job)
        return True

    def answer(self, seconds: float | None) -> Compiled | None:
        if not self.jobs:
            return None
        job = self.jobs.popleft()
        self.done += 1
        if job.symbol == "poison" or (self.every and self.done % self.every == 0):
            raise WorkerLost("poisoned")
        if job.symbol == "too late":
            raise OtherEngine("all has changed")
        return Compiled(job.symbol.encode())

    def close(self) -> None:
        self.jobs.clear()


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> type[Fragile]:
    class Fresh(Fragile):
        pass

    monkeypatch.setattr("bimetal.codegen.worker.Worker", Fresh)
    return Fresh


def order(name: str) -> Order:
    return Order(CodePage(name.encode()), Job(b"", (), b"", 1, name))


def finished(orders: Orders) -> list[str]:
    return [answer.content.decode() for _, answer in orders.collect(0)]


def test_what_a_lost_process_had_to_do_is_done_by_another(fragile: type[Fragile]) -> None:
    orders = Orders(rv64, False)
    for name in ("a", "poison", "b", "c"):
        orders.submit(order(name))
    assert finished(orders) == ["a", "b", "c"]
    assert fragile.made == 3  # the poison is tried twice
    assert len(orders) == 0


def test_answers_belong_to_their_orders(fragile: type[Fragile]) -> None:
    fragile.every = 3
    orders = Orders(rv64, False)
    for name in "abcd":
        orders.submit(order(name))
    for done, answer in orders.collect(None):
        assert answer.content == done.job.symbol.encode() == done.code_page.code


def test_it_is_replaced_so_many_times_and_that_is_said_once(
    fragile: type[Fragile], caplog: pytest.LogCaptureFixture
) -> None:
    fragile.every = 1
    orders = Orders(rv64, False)
    with caplog.at_level(logging.WARNING):
        for name in "abcdefgh":
            orders.submit(order(name))
        assert finished(orders) == []
    assert fragile.made == 1 + REPLACEMENTS
    assert [line.split(":")[0] for line in caplog.messages] == [
        "the translator was lost and is replaced",
        f"the translator was lost {REPLACEMENTS + 1} times and is not replaced",
    ]
    orders.submit(order("later"))
    assert len(orders) == 0
    orders.close()


def test_one_with_another_engine_is_not_replaced(
    fragile: type[Fragile], caplog: pytest.LogCaptureFixture
) -> None:
    orders = Orders(rv64, False)
    with caplog.at_level(logging.WARNING):
        for name in ("a", "too late", "b"):
            orders.submit(order(name))
        assert finished(orders) == ["a"]
    assert caplog.messages == ["all has changed: what is hot is not translated any more"]
    orders.submit(order("later"))
    assert (fragile.made, len(orders)) == (1, 0)
    orders.close()


def test_one_that_takes_no_jobs_is_replaced(fragile: type[Fragile]) -> None:
    orders = Orders(rv64, False)
    orders.submit(order("no more"))
    orders.submit(order("a"))
    assert finished(orders) == ["a"]


def test_who_works_long_may_be_lost_more_often(fragile: type[Fragile]) -> None:
    fragile.every = ANSWERS
    orders = Orders(rv64, False)
    count = ANSWERS * REPLACEMENTS * 3
    for number in range(count):
        orders.submit(order(str(number)))
        assert finished(orders) == [str(number)]
    assert fragile.made > 2 * REPLACEMENTS
