"""Turns of devices that are better taken when the vCPUs rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bimetal.backends.reactor import Reactor
from bimetal.machine.lulls import LULL_NS, Lulls


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor()
    yield reactor
    reactor.close()


def test_who_cannot_tell_when_vcpus_rest_waits_for_nothing(reactor: Reactor) -> None:
    lulls, taken = Lulls(reactor), list[str]()
    lulls(lambda: taken.append("soon"))
    lulls.in_a_lull(lambda: taken.append("patient"))
    reactor.turn()
    assert taken == ["soon", "patient"]


def test_who_is_patient_waits_until_the_vcpus_rest(reactor: Reactor) -> None:
    lulls, taken = Lulls(reactor), list[str]()
    lulls.begin()
    reactor.clock.pause()
    lulls.in_a_lull(lambda: taken.append("first"))
    lulls.in_a_lull(lambda: taken.append("second"))
    lulls(lambda: taken.append("soon"))
    reactor.turn()
    assert taken == ["soon"]
    lulls.begin()
    assert taken == ["soon", "first", "second"]
    assert reactor.clock.next_deadline() is None


def test_who_asks_for_more_in_a_lull_waits_for_the_next(reactor: Reactor) -> None:
    lulls, taken = Lulls(reactor), list[str]()

    def turn() -> None:
        taken.append("turn")
        lulls.in_a_lull(turn)

    lulls.begin()
    lulls.in_a_lull(turn)
    lulls.begin()
    assert taken == ["turn"]
    lulls.begin()
    assert taken == ["turn", "turn"]
    assert reactor.clock.next_deadline() is not None


def test_vcpus_that_do_not_rest_are_waited_for_no_longer_than_that(reactor: Reactor) -> None:
    lulls, taken = Lulls(reactor), list[str]()
    lulls.begin()
    reactor.clock.pause()
    lulls.in_a_lull(lambda: taken.append("patient"))
    reactor.clock.set(reactor.clock.now_ns() + LULL_NS - 1)
    reactor.turn()
    assert taken == []
    reactor.clock.set(reactor.clock.now_ns() + 1)
    reactor.turn()
    assert taken == ["patient"]


def test_a_copy_takes_the_turns_that_were_waited_for(reactor: Reactor) -> None:
    lulls, taken = Lulls(reactor), list[str]()
    lulls.begin()
    lulls.in_a_lull(lambda: taken.append("patient"))
    reactor.forked()
    lulls.forked()
    reactor.turn()
    assert taken == ["patient"]
