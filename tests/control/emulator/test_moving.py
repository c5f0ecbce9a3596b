"""Emulators from one of which a running machine goes to the other."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bimetal import images
from tests.boot.verifying import in_order, verifying_program
from tests.control.emulator.programs import await_end, daemon, finished
from tests.control.talker import Talker
from tests.control.test_migrating import hand_over

PROGRAM = "qemu-system-riscv64"
LIMIT = 240
SLOW = 2 << 20
"""Bytes a second: a move takes long enough for something to happen to it."""


class Emulator:
    """One, with a disk, whose console is a file in ``folder``."""

    def __init__(self, programs: Path, folder: Path, disk: Path, kernel: Path, *words: str):
        folder.mkdir()
        self.console = folder / "console"
        line = f"-M virt -m 32M -nodefaults -display none -serial file:{self.console}"
        drive = f"file={disk},if=virtio,format=qcow2"
        self.process = daemon(
            programs / PROGRAM,
            folder,
            *line.split(),
            "-drive",
            drive,
            "-kernel",
            str(kernel),
            *words,
        )
        self.talker = Talker(folder / "qmp")

    @property
    def status(self) -> str:
        return str(self.talker.value("query-status")["status"])

    def until(self, *wanted: str) -> str:
        """Wait for a state of the migration; that one."""
        ended = time.monotonic() + LIMIT
        while (told := self.talker.value("query-migrate").get("status", "")) not in wanted:
            assert time.monotonic() < ended, told
        return str(told)

    def goes_on(self) -> bool:
        """Whether the guest prints more letters, in order."""
        before = len(self.console.read_text())
        ended = time.monotonic() + LIMIT
        while len(self.console.read_text()) < before + 8:
            assert time.monotonic() < ended, self.status
        return in_order(self.console.read_text())

    def kill(self) -> None:
        signal.pidfd_send_signal(self.process, signal.SIGKILL)

    def close(self) -> None:
        self.talker.close()
        with suppress(ProcessLookupError):
            self.kill()
        await_end(self.process)


Made = Callable[..., Emulator]


@pytest.fixture
def made(launchers: Path, tmp_path: Path) -> Iterator[Made]:
    """Makes emulators with the same disk."""
    disk, kernel = tmp_path / "disk.qcow2", verifying_program(tmp_path / "program.elf")
    images.create(str(disk), "4M", format="qcow2")
    emulators = list[Emulator]()

    def make(*words: str) -> Emulator:
        folder = tmp_path / str(len(emulators))
        emulators.append(Emulator(launchers, folder, disk, kernel, *words))
        return emulators[-1]

    yield make
    for each in emulators:
        each.close()


def test_a_running_machine_by_a_socket(made: Made, tmp_path: Path) -> None:
    here, there = made(), made("-incoming", "defer")
    assert there.status == "inmigrate"
    place = f"unix:{tmp_path}/way"
    there.talker.value("migrate-incoming", uri=place)
    here.talker.value("migrate-set-parameters", max_bandwidth=64 << 20, downtime_limit=2000)
    assert here.talker.value("query-migrate-parameters") == {
        "max-bandwidth": 64 << 20, "downtime-limit": 2000,
    }  # fmt: skip
    assert here.goes_on()
    here.talker.value("migrate", uri=place)
    assert here.until("completed", "failed") == "completed"
    told = here.talker.value("query-migrate")
    ram = told["ram"]
    assert ram["total"] >= 32 << 20
    assert (ram["remaining"], ram["page-size"]) == (0, 4096)
    assert ram["transferred"] >= 1 << 20
    assert ram["duplicate"] > 1000
    assert ram["dirty-sync-count"] >= 1
    assert 0 < told["downtime"] <= told["total-time"]
    assert here.status == "postmigrate"
    assert there.until("completed", "failed") == "completed"
    assert there.status == "running"
    assert there.goes_on()
    names = [each["event"] for each in here.talker.events]
    assert names[0] == "MIGRATION"
    assert names.index("MIGRATION_PASS") < names.index("STOP")
    assert "gone to another process" in here.talker.refused("cont")[1]


@pytest.mark.parametrize("kind", ["fd", "tcp", "channels"])
def test_other_places(kind: str, made: Made) -> None:
    here, there = made("-S"), made("-S", "-incoming", "defer")
    if kind == "fd":
        for emulator, line in zip((here, there), socket.socketpair(), strict=True):
            with line:
                hand_over(emulator.talker, "way", line.fileno())
        address: dict[str, Any] = {"uri": "fd:way"}
    else:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        address = {"uri": f"tcp:127.0.0.1:{port}"}
        if kind == "channels":
            where = {"transport": "socket", "type": "inet", "host": "127.0.0.1", "port": str(port)}
            address = {"channels": [{"channel-type": "main", "addr": where}]}
    there.talker.value("migrate-incoming", **address)
    here.talker.value("migrate", **address)
    assert here.until("completed", "failed") == "completed"
    assert there.until("completed", "failed") == "completed"
    assert there.status == "prelaunch"
    there.talker.value("cont")
    assert there.goes_on()


@pytest.mark.parametrize("kind", ["file", "exec"])
def test_a_state_that_waits_in_a_file(kind: str, made: Made, tmp_path: Path) -> None:
    state = tmp_path / "state"
    to, from_ = f"file:{state},offset=100", f"file:{state},offset=100"
    if kind == "exec":
        to, from_ = f"exec:gzip -1 > {state}", f"exec:gzip -dc {state}"
    here = made()
    assert here.goes_on()
    here.talker.value("migrate", uri=to)
    assert here.until("completed", "failed") == "completed", here.talker.value("query-migrate")
    there = made("-incoming", from_)
    assert there.until("completed", "failed") == "completed"
    assert there.goes_on()
    assert "gone to another process" in here.talker.refused("cont")[1]


def test_it_can_be_cancelled(made: Made, tmp_path: Path) -> None:
    here, there = made(), made("-incoming", f"unix:{tmp_path}/way")
    here.talker.value("migrate-set-parameters", max_bandwidth=SLOW, downtime_limit=0)
    here.talker.value("migrate", uri=f"unix:{tmp_path}/way")
    here.until("active")
    assert "moves already" in here.talker.refused("migrate", uri=f"unix:{tmp_path}/way")[1]
    assert "moving" in here.talker.refused("bimetal-save", filename=str(tmp_path / "s"))[1]
    here.talker.value("migrate_cancel")
    assert here.until("cancelled", "completed", "failed") == "cancelled"
    assert here.status == "running"
    assert here.goes_on()
    await_end(os.dup(there.process))
    here.talker.value("migrate_cancel")  # there is nothing to be cancelled


def test_where_nobody_waits(made: Made, tmp_path: Path, launchers: Path) -> None:
    here = made()
    for place in (f"unix:{tmp_path}/nobody", "tcp:127.0.0.1:1", "fd:none", "rdma:there", "file:"):
        assert here.talker.refused("migrate", uri=place)[1]
    outcome = finished(launchers / PROGRAM, *"-M virt -display none -incoming rdma:x".split())
    assert outcome.returncode == 1
    assert "'rdma:x' is no place" in outcome.stderr
    assert here.goes_on()


def test_what_is_no_machine_ends_who_waits_for_it(made: Made, tmp_path: Path) -> None:
    there = made("-incoming", f"unix:{tmp_path}/way")
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(f"{tmp_path}/way")
        line.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
    await_end(os.dup(there.process))


@pytest.mark.parametrize("whom", ["source", "destination"])
@pytest.mark.parametrize("when", ["setup", "active", "STOP", "completed"])
def test_one_of_them_is_killed(whom: str, when: str, made: Made, tmp_path: Path) -> None:
    """The guest runs once at the end, or the source can be resumed."""
    here, there = made(), made("-incoming", "defer")
    there.talker.value("migrate-incoming", uri=f"unix:{tmp_path}/way")
    assert here.goes_on()
    slow = SLOW if when in ("setup", "active") else 0
    here.talker.value("migrate-set-parameters", max_bandwidth=slow, downtime_limit=2000)
    here.talker.value("migrate", uri=f"unix:{tmp_path}/way")
    if when == "STOP":
        here.talker.event("STOP")
    elif when == "completed":
        here.until("completed")
    elif when == "active":
        while here.talker.value("query-migrate").get("ram", {}).get("transferred", 0) < 1 << 19:
            pass
    if whom == "destination":
        there.kill()
        await_end(os.dup(there.process))
        if here.until("completed", "failed") == "completed":
            here.talker.value("cont")
        assert here.status == "running"
        assert here.goes_on()
        return
    here.kill()
    if there.until("completed", "failed") == "completed":
        assert there.goes_on()
    else:
        assert when in ("setup", "active", "STOP")
        assert there.status == "inmigrate"
