"""Permits are a process's own, whoever is a copy of whom, and end with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bimetal.accel.permits import Permits


@contextmanager
def copy(permits: Permits) -> Iterator[Callable[[str], bool]]:
    """A copy of this process, in which permits can be taken and given back."""
    theirs, asks = os.pipe()
    answers, tells = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(asks)
            while what := os.read(theirs, 1):
                if what == b"g":
                    permits.give_back()
                os.write(tells, b"y" if what == b"g" or permits.take() else b"n")
        finally:
            os._exit(0)

    def ask(what: str) -> bool:
        os.write(asks, what[0].encode())
        return os.read(answers, 1) == b"y"

    try:
        yield ask
    finally:
        for fd in (asks, theirs, answers, tells):
            os.close(fd)
        os.waitpid(pid, 0)


def test_copies_have_as_many_as_there_are_processors() -> None:
    permits = Permits()
    count = permits._count = 2
    with copy(permits) as first, copy(permits) as second, copy(permits) as third:
        assert first("take")
        assert first("take"), "it has one already"
        assert second("take")
        assert not third("take")
        assert not permits.take()
        assert first("give back")
        assert third("take")
    for _ in range(count):  # of copies that have ended
        with copy(permits) as another, copy(permits) as one_more:
            assert another("take")
            assert one_more("take")
    permits.close()
