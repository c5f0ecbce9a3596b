"""Machines that run, whose guest, in Python, writes while something is done to its disks."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bimetal.machine.machine import Machine
from tests.machine.live.driver import SECTOR, DiskDriver, driven

MIB = 1 << 20
LIMIT = 60
Made = Callable[..., Machine]


class Writer:
    """A guest that writes all the time, in a thread of its own, and knows what it has written."""

    def __init__(self, machine: Machine, number: int = 0, seed: int = 1):
        self.driver = DiskDriver(machine, number)
        self.model = bytearray(self.driver.size)
        self._rng = random.Random(seed)
        self._thread: threading.Thread | None = None
        self._enough = False
        self.failures: list[BaseException] = []
        self.requests = 0
        self._more = threading.Condition()

    def reach(self, count: int) -> None:
        """Return when so many requests were answered."""
        with self._more:
            assert self._more.wait_for(lambda: self.requests >= count or self.failures, LIMIT)

    def write(self, count: int = 1) -> None:
        """So many requests that change something."""
        rng, sectors = self._rng, len(self.model) // SECTOR
        for _ in range(count):
            length = rng.randrange(1, rng.choice((2, 9, 130, 600)))
            first = rng.randrange(sectors - length)
            offset, size = first * SECTOR, length * SECTOR
            if rng.random() < 0.2:
                self.driver.zero(offset, size, unmap=rng.random() < 0.5)
                self.model[offset : offset + size] = bytes(size)
            else:
                data = rng.randbytes(SECTOR) * length
                self.driver.write_at(offset, data)
                self.model[offset : offset + size] = data
            if rng.random() < 0.1:
                self.driver.flush()
            with self._more:
                self.requests += 1
                self._more.notify_all()

    def check(self) -> None:
        """The disk shows what was written."""
        for at in range(0, len(self.model), MIB):
            seen = self.driver.read_at(at, min(MIB, len(self.model) - at))
            assert seen == self.model[at : at + MIB], hex(at)

    def __enter__(self) -> Writer:
        self._enough = False
        self._thread = threading.Thread(target=self._main)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._thread is not None
        self._enough = True
        self._thread.join()
        assert not self.failures

    def _main(self) -> None:
        try:
            while not self._enough:
                self.write()
        except BaseException as failure:
            self.failures.append(failure)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    """Makes machines that run, with disks."""
    with ExitStack() as stack:

        def make(*disks: Path, **options: Any) -> Machine:
            return stack.enter_context(driven(tmp_path, *disks, **options))

        yield make
