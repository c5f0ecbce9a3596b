"""Dirty bitmaps of a guest that writes, and incremental backups by them: qemu-img compares every
chain of backups with the disk as it was at that moment."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bimetal.backends.block.block import Block
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.base.errors import BimetalError
from bimetal.machine.live.bitmaps import (
    AddBitmap,
    BitmapAt,
    BitmapChange,
    ClearBitmap,
    Find,
    MergeBitmaps,
    RecordBitmap,
    RemoveBitmap,
)
from bimetal.machine.live.image_at import BitmapView
from bimetal.machine.live.moment import BackUp, LayOver
from bimetal.machine.live.news import Status
from bimetal.machine.machine import Machine
from tests.backends.block.qcow2 import qemu
from tests.backends.block.qcow2.test_bitmaps import flags
from tests.machine.live.conftest import MIB, Made, Writer

pytestmark = qemu.needs_qemu

SIZE = 12 * MIB
LIMIT = 60
DISK = "disk0"
GRANULE = 64 << 10


def new(path: Path, below: Path | None = None, kind: str = "qcow2") -> Path:
    """A new image, made by qemu-img."""
    words = [] if below is None else ["-b", str(below), "-F", "qcow2"]
    qemu.img("create", "-q", "-f", kind, *words, path, str(SIZE))
    return path


def judge(path: Path, model: bytes | bytearray) -> None:
    """``path``, and all that it lies on, shows the bytes of ``model``."""
    seen = path.with_suffix(".model")
    seen.write_bytes(model)
    qemu.img("compare", "-f", "qcow2", "-F", "raw", path, seen)
    assert qemu.check(path) == qemu.CLEAN


def at(name: str, path: Path | None = None) -> BitmapAt:
    return BitmapAt(DISK, name, "" if path is None else str(path))


def bitmaps(machine: Machine, depth: int = 0) -> dict[str, BitmapView]:
    return {each.name: each for each in machine.images_of(DISK)[depth].bitmaps}


class Chain:
    """A full backup, and incremental ones that lie on it."""

    def __init__(self, machine: Machine, writer: Writer, folder: Path):
        self._folder = folder
        self.links: list[tuple[Path, bytes]] = []
        self.go_on(machine, writer)

    def go_on(self, machine: Machine, writer: Writer) -> None:
        """With another machine, which has the disk now."""
        self._machine, self._writer = machine, writer

    def add(self, sync: str, *before: Any, **more: Any) -> None:
        """One more backup, begun at one moment with what comes ``before``, while the guest writes
        on; the disk is then what the writer knows by heart now."""
        number = len(self.links)
        below = self.links[-1][0] if self.links else None
        target = new(self._folder / f"backup{number}.qcow2", below)
        backup = BackUp({"drive": DISK, "target": target, "sync": sync, **more})
        self._machine.at_once([*before, backup])
        self.links.append((target, bytes(self._writer.model)))
        with self._writer:
            for job in self._machine.jobs:
                assert job.wait(seconds=LIMIT)
                assert not job.error
            self._writer.reach(self._writer.requests + 20)

    def judge(self) -> None:
        for path, model in self.links:
            judge(path, model)


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
@pytest.mark.parametrize("seed", range(2))
def test_every_link_of_a_chain_is_the_disk_at_its_moment(
    made: Made, tmp_path: Path, kind: str, seed: int
) -> None:
    image = new(tmp_path / f"disk.{kind}", kind=kind)
    machine = made(image, format=kind)
    writer = Writer(machine, seed=seed)
    writer.write(40)
    chain = Chain(machine, writer, tmp_path)
    keeps = kind == "qcow2"
    granularity = 512 << random.Random(seed).randrange(8)
    chain.add("full", AddBitmap(at("b"), granularity, persistent=keeps))
    for _ in range(3):
        writer.write(30)
        chain.add("incremental", bitmap="b")
    writer.write(30)
    chain.add("bitmap", bitmap="b", bitmap_mode="on-success")
    assert bitmaps(machine)["b"].recording
    writer.check()
    machine.close()
    chain.judge()
    if keeps:
        assert flags(image) == {"b": ["auto"]}


def test_backups_since_moments_that_libvirt_calls_checkpoints(made: Made, tmp_path: Path) -> None:
    """A bitmap for each moment; what has changed since one is what those from there on mark."""
    image = new(tmp_path / "disk.qcow2")
    machine = made(image)
    writer = Writer(machine)
    chain = Chain(machine, writer, tmp_path)
    writer.write(20)
    chain.add("full", AddBitmap(at("c0"), persistent=True))
    names = ["c0"]
    for number in range(1, 4):
        writer.write(30)
        machine.at_once(
            [RecordBitmap(at(names[-1]), on=False), AddBitmap(at(f"c{number}"), persistent=True)]
        )
        names.append(f"c{number}")
    writer.write(30)
    merge = MergeBitmaps(at("temporary"), tuple(at(name) for name in names))
    chain.add("incremental", AddBitmap(at("temporary"), recording=False), merge, bitmap="temporary")
    machine.at_once([RemoveBitmap(at("temporary"))])
    assert [each.recording for each in bitmaps(machine).values()] == [False, False, False, True]
    machine.close()
    chain.judge()
    assert flags(image) == {"c0": [], "c1": [], "c2": [], "c3": ["auto"]}


def test_a_machine_that_ended_and_began_again(made: Made, tmp_path: Path) -> None:
    image = new(tmp_path / "disk.qcow2")
    machine = made(image)
    writer = Writer(machine)
    chain = Chain(machine, writer, tmp_path)
    chain.add("full", AddBitmap(at("b"), persistent=True))
    for seed in range(2, 4):
        writer.write(40)
        machine.close()
        model = writer.model
        machine = made(image)
        writer = Writer(machine, seed=seed)
        writer.model[:] = model
        chain.go_on(machine, writer)
        chain.add("incremental", bitmap="b")
    machine.close()
    chain.judge()


@pytest.mark.parametrize(
    ("sync", "mode", "done", "left"),
    [
        ("bitmap", "on-success", True, "new"),
        ("bitmap", "never", True, "both"),
        ("bitmap", "always", True, "new"),
        ("bitmap", "on-success", False, "both"),
        ("bitmap", "never", False, "both"),
        ("bitmap", "always", False, "some"),
        ("incremental", "", True, "new"),
        ("incremental", "", False, "both"),
        ("full", "on-success", True, "new"),
        ("full", "on-success", False, "both"),
        ("full", "always", False, "some"),
        ("top", "always", True, "new"),
    ],
)
def test_what_a_bitmap_marks_after_a_backup(
    made: Made, tmp_path: Path, sync: str, mode: str, done: bool, left: str
) -> None:
    """One that is done, or given up when it has not copied all."""
    machine = made(new(tmp_path / "disk.qcow2"))
    writer = Writer(machine)
    machine.at_once([AddBitmap(at("b"), GRANULE)])
    for offset in (0, 8 * MIB):
        writer.driver.write_at(offset, b"old" + bytes(509))
    words = {"bitmap": "b", "bitmap_mode": mode}
    target = new(tmp_path / "target.qcow2")
    job = machine.backup_disk(DISK, target, sync=sync, **words, speed=1)
    writer.driver.write_at(4 * MIB, b"new" + bytes(509))
    assert bitmaps(machine)["b"].busy
    assert bitmaps(machine)["b"].count == 3 * GRANULE
    if done:
        job.limit(0)
    else:
        job.cancel()
    assert job.wait(seconds=LIMIT)
    seen = bitmaps(machine)["b"]
    assert not seen.busy
    least = {"new": 1, "some": 2, "both": 3}[left]
    assert seen.count >= least * GRANULE
    if left != "some":
        assert seen.count == least * GRANULE


def test_all_or_nothing(made: Made, tmp_path: Path) -> None:
    machine = made(new(tmp_path / "disk.qcow2"))
    writer = Writer(machine)
    machine.at_once([AddBitmap(at("b"), GRANULE, persistent=True), AddBitmap(at("c"), GRANULE)])
    writer.driver.write_at(0, bytes(512))
    before = machine.images_of(DISK)
    target = new(tmp_path / "target.qcow2")
    with pytest.raises(BimetalError, match="no dirty bitmap 'missing'"):
        machine.at_once(
            [
                AddBitmap(at("d")),
                ClearBitmap(at("b")),
                RecordBitmap(at("c"), on=False),
                MergeBitmaps(at("c"), (at("b"),)),
                BackUp({"drive": DISK, "target": target, "sync": "incremental", "bitmap": "b"}),
                RemoveBitmap(at("missing")),
            ]
        )
    assert machine.images_of(DISK) == before
    assert not [*machine.jobs]
    machine.close()
    assert flags(tmp_path / "disk.qcow2") == {"b": ["auto"]}


def test_images_that_are_laid_over_others_and_committed(made: Made, tmp_path: Path) -> None:
    """The bitmap of an image stays with it, and marks what is committed into it."""
    image = new(tmp_path / "disk.qcow2")
    machine = made(image)
    writer = Writer(machine)
    chain = Chain(machine, writer, tmp_path)
    chain.add("full", AddBitmap(at("b"), persistent=True))
    over = new(tmp_path / "over.qcow2", image)
    machine.at_once([LayOver(DISK, over), AddBitmap(at("b", over), persistent=True)])
    with pytest.raises(BimetalError, match="only read"):
        machine.at_once([ClearBitmap(at("b", image))])
    writer.write(40)
    assert [*bitmaps(machine, 0)] == [*bitmaps(machine, 1)] == ["b"]
    merge = MergeBitmaps(at("all"), (at("b", over), at("b", image)))
    chain.add("incremental", AddBitmap(at("all"), recording=False), merge, bitmap="all")
    job = machine.commit_disk(DISK)
    assert job.wait(Status.READY, seconds=LIMIT)
    job.complete()
    assert job.wait(seconds=LIMIT)
    chain.links.pop()  # the bitmap of the lower image says what has changed since the full backup
    chain.add("incremental", bitmap="b")
    machine.close()
    chain.judge()
    assert flags(image) == {"b": ["auto"]}


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.machine.live.driver import DiskDriver, driven

folder = Path(sys.argv[1])
with driven(folder, folder / "disk.qcow2") as machine:
    machine.add_bitmap("disk0", "b", persistent=True)
    driver = DiskDriver(machine)
    if sys.argv[2] == "writes":
        driver.write_at(0, bytes(512))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("does", ["writes", "reads"])
def test_a_machine_that_is_killed(made: Made, tmp_path: Path, does: str) -> None:
    """A bitmap is not believed any more, unless nothing has changed."""
    image = new(tmp_path / "disk.qcow2")
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path, does], check=False)
    assert done.returncode == -signal.SIGKILL
    assert flags(image) == {"b": ["in-use", "auto"] if does == "writes" else ["auto"]}
    machine = made(image)
    assert bitmaps(machine)["b"].inconsistent == (does == "writes")
    if does == "writes":
        target = new(tmp_path / "target.qcow2")
        for change in (
            lambda: machine.backup_disk(DISK, target, sync="incremental", bitmap="b"),
            lambda: machine.clear_bitmap(DISK, "b"),
            lambda: machine.merge_bitmaps(DISK, "b", ["b"]),
            lambda: machine.add_bitmap(DISK, "b"),
        ):
            with pytest.raises(BimetalError, match=r"is inconsistent|already"):
                change()
    over = new(tmp_path / "over.qcow2")
    over.unlink()
    with pytest.raises(BimetalError, match="there is no"):
        machine.at_once([RemoveBitmap(at("b")), LayOver(DISK, over)])
    assert [*bitmaps(machine)] == ["b"]

    def refuse(moves: object) -> None:
        raise BimetalError("no room for a note", "make some")

    machine.on_moved = refuse
    new(over, image)
    with pytest.raises(BimetalError, match="no room"):
        machine.at_once([RemoveBitmap(at("b")), LayOver(DISK, over)])
    assert [*bitmaps(machine)] == ["b"]
    machine.remove_bitmap(DISK, "b")
    machine.add_bitmap(DISK, "b", persistent=True)
    machine.close()
    assert flags(image) == {"b": ["auto"]}
    assert qemu.check(image) == qemu.CLEAN


def test_who_is_told_how_far_the_file_is_written_changes_nothing_in_it(
    made: Made, tmp_path: Path
) -> None:
    """Not the marks of bitmaps, either, of an image that another machine may have by now."""
    image = new(tmp_path / "disk.qcow2")
    machine = made(image)
    machine.add_bitmap(DISK, "b", persistent=True)
    before = image.read_bytes()
    for limit in (MIB, 512, 0):
        machine.set_write_threshold(image, limit, lambda beyond: None, of_file=True)
    assert image.read_bytes() == before


class Failing:
    """Has writes to a target fail when a bitmap's backup has begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path):
        write = Qcow2Image.writev

        def writev(image: Qcow2Image, offset: int, buffers: Any) -> None:
            if image.name == str(path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write(image, offset, buffers)

        monkeypatch.setattr(Qcow2Image, "writev", writev)


def test_a_target_without_room_keeps_the_bitmap(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = made(new(tmp_path / "disk.qcow2"))
    writer = Writer(machine)
    machine.at_once([AddBitmap(at("b"), persistent=True)])
    writer.write(20)
    before = bitmaps(machine)["b"]
    bad = new(tmp_path / "bad.qcow2")
    Failing(monkeypatch, bad)
    job = machine.backup_disk(DISK, bad, sync="incremental", bitmap="b")
    assert job.wait(seconds=LIMIT)
    assert "No space left" in job.error
    assert bitmaps(machine)["b"] == before


def test_bitmaps_move_with_the_disk_that_is_mirrored(made: Made, tmp_path: Path) -> None:
    """As libvirt does: those of the target are made when it is the same."""
    machine = made(new(tmp_path / "disk.qcow2"))
    writer = Writer(machine)
    machine.at_once([AddBitmap(at("b"), persistent=True)])
    writer.write(20)
    chain_size = bitmaps(machine)["b"].count
    copy = new(tmp_path / "copy.qcow2")
    job = machine.mirror_disk(DISK, copy)
    assert job.wait(Status.READY, seconds=LIMIT)
    source = at("b", tmp_path / "disk.qcow2")
    machine.at_once(
        [AddBitmap(at("b", copy), persistent=True), MergeBitmaps(at("b", copy), (source,))]
    )
    job.complete()
    assert job.wait(seconds=LIMIT)
    assert bitmaps(machine)["b"].count >= chain_size
    writer.write(5)
    machine.close()
    judge(copy, writer.model)
    assert flags(copy) == {"b": ["auto"]}


class Meanwhile(BitmapChange, frozen=True):
    """Fails when a job that copies to ``path`` has written there what it was about to write when
    this moment was asked for."""

    asked: threading.Event
    begun: threading.Event
    wrote: threading.Event

    @classmethod
    def of(cls, monkeypatch: pytest.MonkeyPatch, path: Path) -> Meanwhile:
        asked, begun, wrote = (threading.Event() for _ in range(3))
        write = Qcow2Image.writev

        def writev(image: Qcow2Image, offset: int, buffers: Any) -> None:
            if image.name == str(path):
                asked.set()
                begun.wait(1)
            write(image, offset, buffers)
            if image.name == str(path):
                wrote.set()

        monkeypatch.setattr(Qcow2Image, "writev", writev)
        return cls(at("b", path), asked, begun, wrote)

    def apply(self, find: Find, undo: ExitStack) -> Block | None:
        self.begun.set()
        assert self.wrote.wait(LIMIT)
        raise BimetalError("this fails", "nothing can be done about it")


@pytest.mark.parametrize(
    "change",
    [
        lambda place: RemoveBitmap(place),
        lambda place: MergeBitmaps(place, (place,)),
        lambda place: RecordBitmap(place, on=False),
    ],
)
def test_no_copy_is_written_while_its_bitmaps_change(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]
) -> None:
    """Or what is undone would not mark that."""
    machine = made(new(tmp_path / "disk.qcow2"))
    Writer(machine).driver.write_at(0, b"x" * 8 * MIB)
    copy = new(tmp_path / "copy.qcow2")
    job = machine.mirror_disk(DISK, copy, speed=1)
    place = at("b", copy)
    machine.at_once([AddBitmap(place)])
    meanwhile = Meanwhile.of(monkeypatch, copy)
    job.limit(0)
    assert meanwhile.asked.wait(LIMIT)
    with pytest.raises(BimetalError, match="this fails"):
        machine.at_once([change(place), meanwhile])
    assert job.wait(Status.READY, seconds=LIMIT)
    [bitmap] = machine.other_images()[0].bitmaps
    assert bitmap.count >= SIZE - GRANULE  # a piece may have been copied before it was there
    job.cancel()
    assert job.wait(seconds=LIMIT)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda: AddBitmap(at("b")), "already"),
        (lambda: AddBitmap(at("x"), 1000), "no power of two"),
        (lambda: AddBitmap(at("x" * 2000)), "is no name"),
        (lambda: AddBitmap(BitmapAt("disk7", "x")), "no disk of the machine"),
        (lambda: RemoveBitmap(at("x")), "no dirty bitmap 'x'"),
        (lambda: ClearBitmap(at("busy")), "in use by a job"),
        (lambda: RemoveBitmap(at("busy")), "in use by a job"),
        (lambda: RecordBitmap(at("busy"), on=False), "in use by a job"),
        (lambda: MergeBitmaps(at("b"), (at("busy"),)), "in use by a job"),
        (lambda: MergeBitmaps(at("b"), (at("x"),)), "no dirty bitmap 'x'"),
    ],
)
def test_what_cannot_be(made: Made, tmp_path: Path, change: Callable[[], Any], why: str) -> None:
    machine = made(new(tmp_path / "disk.qcow2"))
    writer = Writer(machine)
    machine.at_once([AddBitmap(at("b")), AddBitmap(at("busy"))])
    writer.write(20)
    target = new(tmp_path / "target.qcow2")
    job = machine.backup_disk(DISK, target, sync="incremental", bitmap="busy", speed=1)
    with pytest.raises(BimetalError, match=why):
        machine.at_once([change()])
    job.cancel()
    assert job.wait(seconds=LIMIT)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"sync": "incremental"}, "needs a dirty bitmap"),
        ({"sync": "bitmap", "bitmap": "b"}, "no bitmap-mode ''"),
        ({"sync": "incremental", "bitmap": "b", "bitmap_mode": "never"}, "no bitmap-mode 'never'"),
        ({"sync": "incremental", "bitmap": "x"}, "no dirty bitmap 'x'"),
        ({"sync": "full", "bitmap": "b", "bitmap_mode": "never"}, "no use for"),
        ({"sync": "full", "bitmap_mode": "always"}, "no dirty bitmap"),
        ({"sync": "some"}, "no sync 'some'"),
        ({"sync": "none", "bitmap": "b", "bitmap_mode": "always"}, "copies nothing"),
    ],
)
def test_backups_that_cannot_be(made: Made, tmp_path: Path, words: Any, why: str) -> None:
    machine = made(new(tmp_path / "disk.qcow2"))
    machine.at_once([AddBitmap(at("b"))])
    with pytest.raises(BimetalError, match=why):
        machine.backup_disk(DISK, new(tmp_path / "target.qcow2"), **words)
    assert not [*machine.jobs]


def test_images_that_keep_none(made: Made, tmp_path: Path) -> None:
    raw, old = tmp_path / "disk.img", tmp_path / "old.qcow2"
    new(raw, kind="raw")
    qemu.img("create", "-q", "-f", "qcow2", "-o", "compat=0.10", old, str(SIZE))
    machine = made(raw, old)
    for drive, why in ((DISK, "keeps no dirty"), ("disk1", "version 2")):
        with pytest.raises(BimetalError, match=why):
            machine.at_once([AddBitmap(BitmapAt(drive, "b"), persistent=True)])
        machine.at_once([AddBitmap(BitmapAt(drive, "b"))])
