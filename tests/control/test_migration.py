"""What is told of a move, whatever happens at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from bimetal.backends.passage import Passage
from bimetal.base.errors import BimetalError
from bimetal.control.events import Event
from bimetal.control.migration import Migration
from bimetal.machine.machine import Machine

LIMIT = 60
LAST = {"completed", "failed", "cancelled"}
FOLLOW = {
    "": {"setup"},
    "setup": {"active", "cancelling"} | LAST,
    "active": {"cancelling", "completed", "failed"},
    "cancelling": {"cancelled", "completed"},
}
"""What may come next (QEMU, docs/devel/migration)."""


class Told:
    """The states that a migration has told."""

    def __init__(self) -> None:
        self.states = list[str]()
        self._over = threading.Event()

    def __call__(self, event: Event) -> None:
        self.states.append(cast(Any, event.data).status)
        if self.states[-1] in LAST:
            self._over.set()

    def wait(self) -> list[str]:
        assert self._over.wait(LIMIT)
        return self.states


class Moved:
    """A machine that goes, or comes, by doing something."""

    def __init__(self, act: Callable[[Passage], object]):
        self._act = act

    def leave(self, way: Passage, *_: object) -> None:
        self._act(way)

    arrive = leave


class Comes:
    """What comes by a way that is open."""

    def __init__(self, come: Callable[..., Passage]):
        self._come = come

    def __call__(self) -> Passage:
        return self._come()

    def close(self) -> None: ...


def passage() -> Passage:
    return Passage(os.open("/dev/null", os.O_RDWR))


def left(told: Told, act: Callable[[Passage], object]) -> Migration:
    migration = Migration(told)
    migration.leave(cast(Machine, Moved(act)), passage())
    return migration


def test_it_is_cancelled() -> None:
    told, begun = Told(), threading.Event()

    def wait(way: Passage) -> None:
        begun.set()
        way.rest(LIMIT)

    migration = left(told, wait)
    assert begun.wait(LIMIT)
    with pytest.raises(BimetalError, match="moves already"):
        migration.leave(cast(Machine, Moved(wait)), passage())
    migration.cancel()
    assert told.wait() == ["setup", "active", "cancelling", "cancelled"]


def test_what_has_gone_is_not_cancelled() -> None:
    told, migration = Told(), list[Migration]()
    there, go = threading.Event(), threading.Event()

    def cancelled(way: Passage) -> None:
        there.set()
        assert go.wait(LIMIT)

    migration.append(left(told, cancelled))
    assert there.wait(LIMIT)
    migration[0].cancel()
    go.set()
    assert told.wait() == ["setup", "active", "cancelling", "completed"]
    migration[0].cancel()
    assert migration[0].status == told.states[-1] == "completed"


@pytest.mark.parametrize("failure", [None, BimetalError("it fails"), OSError(5, "it fails")])
def test_each_state_follows_from_the_one_before(failure: Exception | None) -> None:
    """Though somebody cancels it at the moment when it ends."""

    def end(way: Passage) -> None:
        if failure is not None:
            raise failure

    for _ in range(200):
        told = Told()
        migration = left(told, end)
        migration.cancel()
        states = told.wait()
        pairs = zip(["", *states], states, strict=False)
        assert all(new in FOLLOW[old] for old, new in pairs), states
        assert migration.status == states[-1]


@pytest.mark.parametrize("failure", [BimetalError("it fails"), OSError(5, "it fails")])
@pytest.mark.parametrize("where", ["place", "machine"])
def test_who_waits_hears_that_nobody_comes(failure: Exception, where: str) -> None:
    told, heard = Told(), list[BimetalError]()

    def fail(*_: object) -> Passage:
        raise failure

    await_way = fail if where == "place" else passage
    migration = Migration(told)
    migration.arrive(cast(Machine, Moved(fail)), Comes(await_way), lambda: None, heard.append)
    assert told.wait() == ["setup", "active", "failed"]
    assert [each.cause for each in heard] == ["it fails"]
    assert migration.why == "it fails"


def test_a_machine_that_has_come_does_not_wait_for_the_end_of_the_program_it_comes_from() -> None:
    told, there = Told(), threading.Event()

    def await_way() -> Passage:
        return Passage(os.open("/dev/null", os.O_RDWR), lambda _: ended.append(there.wait(LIMIT)))

    ended = list[bool]()
    migration = Migration(told)
    migration.arrive(
        cast(Machine, Moved(lambda way: None)), Comes(await_way), there.set, lambda error: None
    )
    assert told.wait() == ["setup", "active", "completed"]
    assert ended == [True]
