"""Whose process is ended: the machine's, and never one that has got its number since."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal.backends.lease import Lease, await_release, end_process, holder, marked
from bimetal.base.errors import BimetalError
from bimetal.control.places import Places
from tests.control.homes import LIMIT, Homes

WAITS = [sys.executable, "-c", "input()"]


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any machine."""
    with subprocess.Popen(WAITS, stdin=subprocess.PIPE) as process:
        try:
            yield process
            assert process.poll() is None, "nobody has ended it"
        finally:
            process.kill()


def test_a_number_that_is_anothers_since_it_was_found(
    homes: Homes, stranger: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    look, numbers = Places.pid, [stranger.pid]

    def late(places: Places, name: str) -> int:
        """What was found before the number was given to another process."""
        return numbers.pop() if numbers else look(places, name)

    monkeypatch.setattr(Places, "pid", late)
    homes.machines.destroy("crab")
    assert not numbers
    assert homes.machines.await_end("crab", 0)


def test_a_host_that_does_not_let_processes_be_held(
    homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(pid: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    monkeypatch.setattr(os, "pidfd_open", forbidden)
    with pytest.raises(BimetalError, match="cannot be ended: Operation not permitted") as told:
        homes.machines.destroy("crab")
    pid = homes.places.pid("crab")
    assert told.value.remedy == f"end it yourself: kill {pid}"
    assert not homes.machines.await_end("crab", 0), "it goes on"
    os.kill(pid, signal.SIGTERM)
    assert homes.machines.await_end("crab", LIMIT), "its end is noticed nevertheless"


def test_nobody_holds_a_lease_by_a_lock_without_a_process(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with open(path, "w") as file:
        lock = struct.pack("@hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
        assert holder(str(path)) == 0
        assert Lease.take(str(path)) is None


def test_a_process_that_is_never_seen(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with pytest.raises(ProcessLookupError, match="cannot be seen"):
        end_process(lambda: gone.pid, signal.SIGTERM, 0)
    assert await_release(lambda: holder(str(tmp_path / "missing")), 0)


def test_a_process_is_found_while_it_opens_and_closes_files(tmp_path: Path) -> None:
    low = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]  # whose numbers are looked at first
    lease = Lease.take(str(tmp_path / "lease"))
    assert lease is not None
    lease.mark("here:crab")
    over = threading.Event()

    def close_and_open() -> None:
        while not over.is_set():
            for fd in low:
                os.close(fd)
            low[:] = [os.open(os.devnull, os.O_RDONLY) for _ in low]

    thread = threading.Thread(target=close_and_open)
    thread.start()
    try:
        assert all(marked("here:") == {"crab": os.getpid()} for _ in range(300))
    finally:
        over.set()
        thread.join()
        lease.release()
        for fd in low:
            os.close(fd)


def test_an_end_may_be_waited_for_longer_than_the_host_lets_one() -> None:
    ended = subprocess.Popen(["true"])
    assert end_process(lambda: ended.pid, signal.SIGTERM, 1e9)
    ended.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_machine_in_order(homes: Homes, number: signal.Signals) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    assert end_process(lambda: homes.places.pid("crab"), number, LIMIT)
    assert homes.machines.state_of("crab")["reason"] == "destroyed"
