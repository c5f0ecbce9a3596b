"""Backup programs fetch a disk as it was at a moment, and what has changed since another, while the
guest writes on. libnbd's programs and qemu-img are the clients."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bimetal.backends.block.choose import open_disk
from bimetal.backends.reactor import Reactor
from bimetal.base.errors import BimetalError
from bimetal.machine.live import disk_server
from bimetal.machine.live.bitmaps import AddBitmap, BitmapAt, MergeBitmaps, RecordBitmap
from bimetal.machine.live.moment import BackUp
from bimetal.machine.machine import Machine
from tests.backends.block.qcow2 import qemu
from tests.host import programs
from tests.machine.live.conftest import MIB, Made, Writer

pytestmark = programs("qemu-img", "nbdinfo", "nbdcopy")

SIZE = 12 * MIB
LIMIT = 60
DISK = "disk0"
GRANULE = 64 << 10


def run(*words: object) -> str:
    done = subprocess.run(
        [*map(str, words)], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Fetching:
    """A backup program, and what it needs: images in ``folder``, and a server."""

    def __init__(self, machine: Machine, folder: Path):
        self.machine, self._folder = machine, folder
        self._socket = folder / "nbd"
        self.scratch = folder / "scratch.qcow2"
        self.uri = f"nbd+unix:///vda?socket={self._socket}"

    def begin(self, *before: Any, bitmaps: tuple[Any, ...] = ()) -> None:
        """A backup, begun at one moment with what comes ``before``."""
        disk = self.machine.images_of(DISK)[0].path
        words = ("-b", disk, "-F", "qcow2", self.scratch, str(SIZE))
        qemu.img("create", "-q", "-f", "qcow2", *words)
        target = {"drive": DISK, "target": self.scratch, "sync": "none"}
        self.machine.serve_disks(socket=self._socket)
        self.machine.at_once([*before, BackUp(target)])
        self.machine.export_disk(self.scratch, "vda", bitmaps=bitmaps)

    def map(self, context: str) -> list[tuple[int, int, int]]:
        told = json.loads(run("nbdinfo", "--json", f"--map={context}", self.uri))
        return [(each["offset"], each["length"], each["type"]) for each in told]

    def copy(self, name: str) -> bytes:
        run("nbdcopy", self.uri, path := self._folder / name)
        return path.read_bytes()

    def end(self) -> None:
        self.machine.stop_serving()
        for job in self.machine.jobs:
            job.cancel()
            assert job.wait(seconds=LIMIT)
        self.scratch.unlink()


@pytest.fixture
def machine(made: Made, tmp_path: Path) -> Machine:
    qemu.img("create", "-q", "-f", "qcow2", tmp_path / "disk.qcow2", str(SIZE))
    return made(tmp_path / "disk.qcow2")


@pytest.mark.parametrize("seed", range(2))
def test_what_is_fetched_is_the_disk_at_the_moment(
    machine: Machine, tmp_path: Path, seed: int
) -> None:
    """Though the guest changes all of it meanwhile."""
    writer, fetching = Writer(machine, seed=seed), Fetching(machine, tmp_path)
    for number in range(3):
        writer.write(60)
        fetching.begin()
        model = bytes(writer.model)
        with writer:
            for copy in range(2):
                assert fetching.copy(f"copy{number}-{copy}") == model
                writer.reach(writer.requests + 40)
        run("nbdcopy", fetching.uri, plain := tmp_path / "plain")
        run("qemu-img", "compare", "-f", "raw", "-F", "raw", fetching.uri, plain)
        assert plain.read_bytes() == model
        fetching.end()
    writer.check()
    machine.close()
    assert qemu.check(tmp_path / "disk.qcow2") == qemu.CLEAN


def test_what_has_changed_is_told_as_libvirt_asks_for_it(machine: Machine, tmp_path: Path) -> None:
    """Its bitmap is one of the image that the guest's changes make room in."""
    writer, fetching = Writer(machine), Fetching(machine, tmp_path)
    machine.add_bitmap(DISK, "c0", persistent=True)
    for offset in (0, 5 * MIB, 5 * MIB + GRANULE):
        writer.driver.write_at(offset, b"then" * 128)
    since = BitmapAt("", "since", str(fetching.scratch))
    fetching.begin(
        AddBitmap(since, GRANULE, recording=False),
        MergeBitmaps(since, (BitmapAt(DISK, "c0"),)),
        RecordBitmap(BitmapAt(DISK, "c0"), on=False),
        AddBitmap(BitmapAt(DISK, "c1"), persistent=True),
        bitmaps=("since", (str(tmp_path / "disk.qcow2"), "c0")),
    )
    writer.driver.write_at(9 * MIB, b"now!" * 128)
    changed = [
        (0, GRANULE, 1),
        (GRANULE, 5 * MIB - GRANULE, 0),
        (5 * MIB, 2 * GRANULE, 1),
        (5 * MIB + 2 * GRANULE, SIZE - 5 * MIB - 2 * GRANULE, 0),
    ]
    for name in ("since", "c0"):
        assert fetching.map(f"qemu:dirty-bitmap:{name}") == changed
    options = f"driver=nbd,export=vda,server.type=unix,server.path={tmp_path / 'nbd'}"
    told = json.loads(
        run(
            *("qemu-img", "map", "--output=json", "--image-opts"),
            f"{options},x-dirty-bitmap=qemu:dirty-bitmap:since",
        )
    )
    dirty = [(each["start"], each["length"]) for each in told if not each["data"]]
    assert dirty == [(start, length) for start, length, kind in changed if kind]
    assert [kind for _, _, kind in fetching.map("base:allocation")] == [0, 3, 0, 3]
    contexts = json.loads(run("nbdinfo", "--json", fetching.uri))["exports"][0]["contexts"]
    assert contexts == ["base:allocation", "qemu:dirty-bitmap:since", "qemu:dirty-bitmap:c0"]
    with pytest.raises(BimetalError, match="or served"):
        machine.remove_bitmap(DISK, "c0")
    fetching.end()
    machine.remove_bitmap(DISK, "c0")


def test_the_disk_itself_is_read_while_the_guest_uses_it(machine: Machine, tmp_path: Path) -> None:
    writer, fetching = Writer(machine), Fetching(machine, tmp_path)
    writer.write(40)
    machine.serve_disks(socket=tmp_path / "nbd")
    machine.export_disk(tmp_path / "disk.qcow2", "vda")
    with writer:
        fetching.copy("meanwhile")
    assert fetching.copy("afterwards") == writer.model
    with pytest.raises(BimetalError, match="a server of the machine"):
        machine.save(tmp_path / "state")
    machine.unexport_disk("vda")
    with pytest.raises(AssertionError, match="vda"):
        fetching.copy("late")
    machine.stop_serving()
    machine.save(tmp_path / "state")


def test_a_machine_that_is_paused_is_served(machine: Machine, tmp_path: Path) -> None:
    writer, fetching = Writer(machine), Fetching(machine, tmp_path)
    writer.write(40)
    machine.pause()
    fetching.begin()
    assert fetching.copy("paused") == writer.model
    fetching.end()


def test_a_backup_that_ends_shows_nothing_any_more(machine: Machine, tmp_path: Path) -> None:
    fetching = Fetching(machine, tmp_path)
    fetching.begin()
    (job,) = machine.jobs
    job.cancel()
    assert job.wait(seconds=LIMIT)
    with pytest.raises(AssertionError):
        fetching.copy("late")
    with pytest.raises(BimetalError, match="no disk of the machine has"):
        machine.export_disk(fetching.scratch, "again")
    machine.stop_serving()
    machine.stop_serving()


def test_a_scratch_image_without_room_fails_the_backup_and_not_the_guest(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, fetching = Writer(machine), Fetching(machine, tmp_path)
    writer.write(20)
    fetching.begin()
    model = bytes(writer.model)
    (job,) = machine.jobs
    full = tmp_path / "full"
    monkeypatch.setattr(
        "bimetal.machine.live.backup.give", lambda target, pieces: full.joinpath("x").read_bytes()
    )
    writer.driver.write_at(0, b"over" * 128)
    assert job.wait(seconds=LIMIT)
    assert "No such file" in job.error
    with pytest.raises(AssertionError):
        fetching.copy("late")
    assert writer.driver.read_at(0, 512) == b"over" * 128
    assert writer.driver.read_at(512, MIB - 512) == model[512:MIB]


def test_a_machine_closes_though_clients_read(machine: Machine, tmp_path: Path) -> None:
    fetching = Fetching(machine, tmp_path)
    fetching.begin()
    with closing(open_disk(fetching.uri, readonly=True)) as client:
        assert client.read(0, 512) == bytes(512)
        machine.close()
    assert not (tmp_path / "nbd").exists()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda vm, disk: vm.serve_disks(socket=disk), "there is a server already"),
        (lambda vm, disk: vm.export_disk(disk, ""), "no name for an export"),
        (lambda vm, disk: vm.export_disk(disk, "n" * 5000), "no name for an export"),
        (lambda vm, disk: vm.export_disk("elsewhere", "x"), "no disk of the machine has"),
        (lambda vm, disk: vm.export_disk(disk, "there"), "there is an export 'there' already"),
        (lambda vm, disk: vm.export_disk(disk, "x", bitmaps=["no"]), "no dirty bitmap 'no'"),
        (lambda vm, disk: vm.export_disk(disk, "x", bitmaps=["on"]), "marks what changes"),
        (lambda vm, disk: vm.unexport_disk("x"), "there is no export 'x'"),
    ],
)
def test_what_cannot_be(
    machine: Machine, tmp_path: Path, wrong: Callable[[Machine, Path], object], why: str
) -> None:
    disk = tmp_path / "disk.qcow2"
    with pytest.raises(BimetalError, match="there is no server"):
        machine.export_disk(disk, "x")
    with pytest.raises(BimetalError, match="no server for 0 clients"):
        machine.serve_disks(socket=tmp_path / "nbd", clients=0)
    machine.serve_disks(socket=tmp_path / "nbd")
    machine.add_bitmap(DISK, "on")
    machine.export_disk(disk, "there")
    with pytest.raises(BimetalError, match=why):
        wrong(machine, disk)
    assert [each.id for each in machine.exports] == ["there"]


def test_a_bitmap_of_a_smaller_image_below_is_not_told_of(made: Made, tmp_path: Path) -> None:
    """It says nothing of what lies behind its end."""
    base, disk = tmp_path / "base.qcow2", tmp_path / "disk.qcow2"
    qemu.img("create", "-q", "-f", "qcow2", base, str(SIZE // 2))
    qemu.img("bitmap", "--add", "--disable", base, "c0")
    qemu.img("create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", disk, str(SIZE))
    machine = made(disk)
    machine.serve_disks(socket=tmp_path / "nbd")
    with pytest.raises(BimetalError, match=f"tells of {SIZE // 2} bytes"):
        machine.export_disk(disk, "vda", bitmaps=["c0"])
    machine.export_disk(disk, "vda")
    machine.export_disk(base, "base", bitmaps=["c0"])


def test_a_machine_that_moves_to_another_process_serves_nothing(
    machine: Machine, tmp_path: Path
) -> None:
    machine.jobs.bar()
    with pytest.raises(BimetalError, match="moving to another process"):
        machine.serve_disks(socket=tmp_path / "nbd")
    machine.jobs.barred = False
    machine.serve_disks(socket=tmp_path / "nbd")
    with pytest.raises(BimetalError, match="there is a server"):
        machine.jobs.bar()


def in_the_middle(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have somebody else ``act`` when the next server is made, and nobody knows of it yet."""
    make = disk_server.DiskServer.__init__

    def made(server: disk_server.DiskServer, **options: Any) -> None:
        monkeypatch.setattr(disk_server.DiskServer, "__init__", make)
        make(server, **options)
        act()

    monkeypatch.setattr(disk_server.DiskServer, "__init__", made)


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda vm, folder: vm.serve_disks(socket=folder / "other"), "there is a server already"),
        (lambda vm, folder: vm.jobs.bar(), "moving to another process"),
        (lambda vm, folder: vm.close(), "closed"),
    ],
)
def test_what_another_client_does_while_a_server_is_made(
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[Machine, Path], object],
    why: str,
) -> None:
    in_the_middle(monkeypatch, lambda: act(machine, tmp_path))
    with pytest.raises(BimetalError, match=why):
        machine.serve_disks(socket=tmp_path / "nbd")
    assert not (tmp_path / "nbd").exists()
    if (tmp_path / "other").exists():
        machine.export_disk(tmp_path / "disk.qcow2", "vda")
        uri = f"nbd+unix:///vda?socket={tmp_path / 'other'}"
        assert "vda" in run("nbdinfo", uri), "that is the server"


def test_nothing_is_exported_by_a_server_that_ends(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = disk_server.DiskServer.end

    def ends(server: disk_server.DiskServer, seconds: float) -> bool:
        with pytest.raises(BimetalError, match="there is no server"):
            machine.export_disk(tmp_path / "disk.qcow2", "vda")
        return end(server, seconds)

    machine.serve_disks(socket=tmp_path / "nbd")
    monkeypatch.setattr(disk_server.DiskServer, "end", ends)
    machine.stop_serving()
    assert not [*machine.exports]
    assert not machine.exports.serving


def test_nothing_is_left_of_a_server_that_the_host_does_not_allow(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(reactor: Reactor) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as there:
        there.setattr(Reactor, "__init__", full)
        with pytest.raises(BimetalError, match="Too many open files"):
            machine.serve_disks(socket=tmp_path / "nbd")
    assert not (tmp_path / "nbd").exists()
    assert machine.serve_disks(socket=tmp_path / "nbd")
