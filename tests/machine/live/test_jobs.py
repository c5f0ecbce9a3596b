"""Jobs that copy, join and fill the images of a disk while the guest writes; qemu-img judges."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bimetal import images
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.memory import MemoryDisk
from bimetal.base.errors import BimetalError
from bimetal.boards import Machine
from bimetal.machine.events import EventKind, MachineEvent
from bimetal.machine.live.job import Job, Terms
from bimetal.machine.live.mirror import Mirror
from bimetal.machine.live.news import NewsKind, Status
from tests.backends.block.qcow2 import qemu
from tests.machine.live.conftest import MIB, Made, Writer

pytestmark = qemu.needs_qemu

SIZE = 24 * MIB
LIMIT = 60
DISK = "disk0"


def new(path: Path, below: Path | None = None, **options: Any) -> Path:
    """A new qcow2 image, made by qemu-img."""
    listed = ",".join(f"{name}={value}" for name, value in options.items())
    words = ["-o", listed] if listed else []
    if below is not None:
        kind = "qcow2" if below.suffix == ".qcow2" else "raw"
        words += ["-b", str(below), "-F", kind]
    qemu.img("create", "-q", "-f", "qcow2", *words, path, str(SIZE))
    return path


def base(folder: Path, kind: str) -> Path:
    """The image that a machine begins with: noise here and there."""
    raw = folder / "base.img"
    raw.write_bytes(random.Random(5).randbytes(3 * MIB) + bytes(SIZE - 3 * MIB))
    if kind == "raw":
        return raw
    path = folder / "base.qcow2"
    qemu.img("convert", "-f", "raw", "-O", "qcow2", raw, path)
    return path


def begun(machine: Machine, image: Path) -> Writer:
    writer = Writer(machine)
    disk = open_disk(str(image), readonly=True, lock=False, format=image_format(image))
    writer.model[:] = disk.read(0, SIZE)
    disk.close()
    writer.check()
    return writer


def image_format(path: Path) -> str:
    return "raw" if path.suffix == ".img" else "qcow2"


def layered(machine: Machine, writer: Writer, folder: Path, count: int, **options: Any) -> None:
    """Lay so many images over the disk, in each of which the guest writes something."""
    for number in range(count):
        below = Path(machine.images_of(DISK)[0].path)
        machine.lay_over({DISK: new(folder / f"top{number}.qcow2", below, **options)})
        writer.write(40)


def paths(machine: Machine) -> list[str]:
    return [Path(each.path).name for each in machine.images_of(DISK)]


def ended(job: Job, *, pivot: bool = True) -> None:
    """Let it come to a good end."""
    if job.completes:
        assert job.wait(Status.READY, seconds=LIMIT)
        assert job.status is Status.READY, job.view
        if pivot:
            job.complete()
        else:
            job.cancel(force=False)
    assert job.wait(seconds=LIMIT)
    assert not job.error


def judge(path: Path, model: bytes | bytearray, folder: Path) -> None:
    """qemu-img sees the content, and nothing wrong with any image of the chain."""
    raw = folder / "model.img"
    raw.write_bytes(model)
    kind = image_format(path)
    qemu.img("compare", "-f", kind, "-F", "raw", path, raw)
    for each in images.chain(str(path), format=kind):
        if each.format == "qcow2":
            assert qemu.check(Path(each.path)) == qemu.CLEAN


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_what_a_guest_writes_goes_to_a_new_image(made: Made, tmp_path: Path, kind: str) -> None:
    image = base(tmp_path, kind)
    machine = made(image, format=kind)
    writer = begun(machine, image)
    with writer:
        writer.reach(30)
        machine.lay_over({DISK: new(tmp_path / "top.qcow2", image)})
        frozen = image.read_bytes()
        writer.reach(90)
    writer.check()
    assert image.read_bytes() == frozen
    assert paths(machine) == ["top.qcow2", image.name]
    machine.close()
    judge(tmp_path / "top.qcow2", writer.model, tmp_path)


def test_several_disks_at_one_moment_or_none(made: Made, tmp_path: Path) -> None:
    first, second = new(tmp_path / "a.qcow2"), new(tmp_path / "b.qcow2")
    machine = made(first, second)
    guests = [Writer(machine, 0), Writer(machine, 1, seed=2)]
    guests[0].write(20)
    wrong = tmp_path / "wrong.qcow2"
    qemu.img("create", "-q", "-f", "qcow2", wrong, str(MIB))
    good = new(tmp_path / "a1.qcow2", first)
    with pytest.raises(BimetalError, match=r"no qcow2 image of \d+ bytes"):
        machine.lay_over({DISK: good, "disk1": wrong})
    assert [machine.images_of(disk)[0].path for disk in (DISK, "disk1")] == [
        str(first),
        str(second),
    ]
    assert not machine.images_of(DISK)[0].readonly
    for guest in guests:
        guest.write(20)
    machine.lay_over({DISK: good, "disk1": new(tmp_path / "b1.qcow2", second)})
    for guest in guests:
        guest.write(20)
        guest.check()
    machine.close()
    judge(good, guests[0].model, tmp_path)
    judge(tmp_path / "b1.qcow2", guests[1].model, tmp_path)


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_all_is_committed_and_the_base_takes_its_place(
    made: Made, tmp_path: Path, kind: str
) -> None:
    image = base(tmp_path, kind)
    machine = made(image, format=kind)
    writer = begun(machine, image)
    layered(machine, writer, tmp_path, 2, cluster_size="4k")
    with writer:
        ended(machine.commit_disk(DISK))
    assert paths(machine) == [image.name]
    writer.write(20)
    writer.check()
    machine.close()
    judge(image, writer.model, tmp_path)


def test_a_commit_that_is_given_up_changes_nothing(made: Made, tmp_path: Path) -> None:
    image = base(tmp_path, "qcow2")
    machine = made(image)
    writer = begun(machine, image)
    layered(machine, writer, tmp_path, 1)
    with writer:
        job = machine.commit_disk(DISK)
        assert job.wait(Status.READY, seconds=LIMIT)
        job.cancel()
        assert job.wait(seconds=LIMIT)
    assert paths(machine) == ["top0.qcow2", "base.qcow2"]
    assert machine.images_of(DISK)[1].readonly
    writer.check()
    machine.close()
    judge(tmp_path / "top0.qcow2", writer.model, tmp_path)


def test_an_image_between_others_is_committed(made: Made, tmp_path: Path) -> None:
    image = base(tmp_path, "raw")
    machine = made(image, format="raw")
    writer = begun(machine, image)
    layered(machine, writer, tmp_path, 4)
    with writer:
        ended(machine.commit_disk(DISK, top=tmp_path / "top2.qcow2", base=tmp_path / "top0.qcow2"))
    assert paths(machine) == ["top3.qcow2", "top0.qcow2", "base.img"]
    writer.check()
    with writer:
        ended(machine.commit_disk(DISK, top=tmp_path / "top0.qcow2"))
    writer.check()
    machine.close()
    assert [Path(each.path).name for each in images.chain(str(tmp_path / "top3.qcow2"))] == [
        "top3.qcow2",
        "base.img",
    ]
    judge(tmp_path / "top3.qcow2", writer.model, tmp_path)


@pytest.mark.parametrize("version", ["0.10", "1.1"])
@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_a_disk_is_filled_from_below(made: Made, tmp_path: Path, wanted: int, version: str) -> None:
    """From all, down to an image that stays, or into one between others."""
    image = base(tmp_path, "qcow2")
    machine = made(image)
    writer = begun(machine, image)
    layered(machine, writer, tmp_path, 3, compat=version)
    with writer:
        if wanted == 0:
            ended(machine.stream_disk(DISK))
        elif wanted == 1:
            ended(machine.stream_disk(DISK, base=tmp_path / "top0.qcow2"))
        else:
            ended(machine.stream_disk(DISK, top=tmp_path / "top1.qcow2"))
    left = [
        ["top2.qcow2"],
        ["top2.qcow2", "top0.qcow2", "base.qcow2"],
        ["top2.qcow2", "top1.qcow2"],
    ]
    assert paths(machine) == left[wanted]
    writer.write(20)
    writer.check()
    machine.close()
    judge(tmp_path / "top2.qcow2", writer.model, tmp_path)


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
@pytest.mark.parametrize("pivot", [True, False])
def test_a_copy_follows_the_guest(made: Made, tmp_path: Path, kind: str, pivot: bool) -> None:
    image = base(tmp_path, "qcow2")
    machine = made(image)
    writer = begun(machine, image)
    layered(machine, writer, tmp_path, 1)
    copy = tmp_path / f"copy.{'img' if kind == 'raw' else kind}"
    images.create(str(copy), SIZE, format=kind)
    with writer:
        job = machine.mirror_disk(DISK, copy, format=kind)
        ended(job, pivot=pivot)
    assert paths(machine) == ([copy.name] if pivot else ["top0.qcow2", "base.qcow2"])
    if pivot:
        writer.write(20)
    writer.check()
    machine.close()
    if pivot:
        judge(copy, writer.model, tmp_path)
    else:
        judge(tmp_path / "top0.qcow2", writer.model, tmp_path)
        assert subprocess.run(["qemu-img", "check", "-q", str(copy)], check=False).returncode in (
            0,
            63,
        )


def test_only_the_topmost_image_is_copied(made: Made, tmp_path: Path) -> None:
    image = base(tmp_path, "qcow2")
    machine = made(image)
    writer = begun(machine, image)
    layered(machine, writer, tmp_path, 1)
    copy = new(tmp_path / "copy.qcow2", image)
    with writer:
        ended(machine.mirror_disk(DISK, copy, sync="top"))
    writer.check()
    assert paths(machine) == ["copy.qcow2", "base.qcow2"]
    machine.close()
    judge(copy, writer.model, tmp_path)


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_backup_is_what_the_disk_was(made: Made, tmp_path: Path, kind: str) -> None:
    image = base(tmp_path, kind)
    machine = made(image, format=kind)
    writer = begun(machine, image)
    writer.write(50)
    before = bytes(writer.model)
    copy = new(tmp_path / "copy.qcow2")
    job = machine.backup_disk(DISK, copy, speed=64 * MIB)
    with writer:
        ended(job)
    writer.check()
    machine.close()
    judge(copy, before, tmp_path)
    judge(image, writer.model, tmp_path)


def test_a_disk_gets_larger_and_the_guest_is_told(made: Made, tmp_path: Path) -> None:
    image = base(tmp_path, "qcow2")
    machine = made(image)
    writer = begun(machine, image)
    with writer:
        machine.resize_disk(DISK, SIZE + 8 * MIB)
    assert writer.driver.size == SIZE + 8 * MIB
    writer.model += bytes(8 * MIB)
    writer.write(50)
    writer.check()
    with pytest.raises(BimetalError, match="would lose"):
        machine.resize_disk(DISK, SIZE)
    machine.close()
    judge(image, writer.model, tmp_path)


class Failing(MemoryDisk):
    """A disk in memory that has no room until it is told otherwise."""

    def __init__(self) -> None:
        super().__init__(bytes(SIZE))
        self.name, self.full, self.tried = "memory", True, threading.Event()

    def _check(self) -> None:
        self.tried.set()
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        self._check()
        super().writev(offset, buffers)

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        self._check()
        super().write_zeroes(offset, length, unmap=unmap)


def mirror(machine: Machine, target: MemoryDisk, policy: str) -> Job:
    with machine._built().locked():
        seat = machine._seat(DISK)
    terms = Terms("copy", on_target_error=policy)
    note = machine._note
    return machine.jobs.begin(Mirror(terms, seat, machine.jobs.tell, note, target))


@pytest.mark.parametrize("policy", ["report", "ignore", "stop", "enospc"])
def test_a_target_without_room(made: Made, tmp_path: Path, policy: str) -> None:
    image = base(tmp_path, "qcow2")
    machine = made(image)
    writer = begun(machine, image)
    told: list[MachineEvent] = []
    target = Failing()
    with machine.on_event(told.append), writer:
        job = mirror(machine, target, policy)
        if policy == "report":
            assert job.wait(seconds=LIMIT)
            assert "No space left" in job.error
        else:
            if policy == "ignore":
                assert target.tried.wait(LIMIT)
                target.full = False
            else:
                assert job.wait(Status.PAUSED, seconds=LIMIT)
                assert job.view.stuck == "nospace"
                target.full = False
                job.resume()
            assert job.wait(Status.READY, seconds=LIMIT)
            job.cancel()
            assert job.wait(seconds=LIMIT)
    assert any(_is_error(each) for each in told)
    writer.check()
    assert paths(machine) == ["base.qcow2"]
    machine.close()
    judge(image, writer.model, tmp_path)


def _is_error(event: MachineEvent) -> bool:
    return event.job is not None and event.job.kind is NewsKind.ERROR


def test_a_job_is_held_limited_and_finalized(made: Made, tmp_path: Path) -> None:
    image = base(tmp_path, "qcow2")
    machine = made(image)
    copy = new(tmp_path / "copy.qcow2")
    told: list[MachineEvent] = []
    with machine.on_event(told.append):
        job = machine.mirror_disk(
            DISK, copy, speed=1, auto_finalize=False, auto_dismiss=False, id="one"
        )
        with pytest.raises(BimetalError, match="cannot be completed"):
            job.complete()
        job.limit(0)
        assert job.wait(Status.READY, seconds=LIMIT)
        job.pause()
        assert job.wait(Status.STANDBY, seconds=LIMIT)
        with pytest.raises(BimetalError, match="cannot be completed"):
            job.complete()
        job.resume()
        assert job.wait(Status.READY, seconds=LIMIT)
        job.complete()
        assert job.wait(Status.PENDING, seconds=LIMIT)
        job.finalize()
        assert job.wait(seconds=LIMIT)
        with pytest.raises(BimetalError, match="there are one"):
            machine.jobs["two"].dismiss()
        machine.jobs["one"].dismiss()
    assert not list(machine.jobs)
    statuses = [each.job.job.status.value for each in told if _is_status(each) and each.job]
    assert statuses == [
        *("created", "running", "ready", "standby", "ready"),
        *("waiting", "pending", "concluded", "null"),
    ]


def _is_status(event: MachineEvent) -> bool:
    kind = EventKind.JOB
    return event.kind is kind and event.job is not None and event.job.kind is NewsKind.STATUS


def test_what_cannot_be(made: Made, tmp_path: Path) -> None:
    image = base(tmp_path, "qcow2")
    machine = made(image)
    writer = begun(machine, image)
    layered(machine, writer, tmp_path, 1)
    top = str(tmp_path / "top0.qcow2")
    small = tmp_path / "small.qcow2"
    qemu.img("create", "-q", "-f", "qcow2", small, str(MIB))
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: machine.commit_disk("disk7"), "there is no disk 'disk7'"),
        (lambda: machine.commit_disk(DISK, base=top), "does not lie on"),
        (lambda: machine.commit_disk(DISK, base="elsewhere"), "none of the images"),
        (lambda: machine.stream_disk(DISK, top=image, base=top), "does not lie on"),
        (lambda: machine.mirror_disk(DISK, small), f"has {MIB} bytes"),
        (lambda: machine.mirror_disk(DISK, top), "in use"),
        (lambda: machine.mirror_disk(DISK, image), "in use"),
        (lambda: machine.backup_disk(DISK, small, sync="bitmap"), "dirty bitmap"),
        (lambda: machine.commit_disk(DISK, speed=-1), "speed of -1"),
        (lambda: machine.commit_disk(DISK, on_source_error="sigh"), "answered by 'sigh'"),
        (lambda: machine.lay_over({DISK: small}), r"no qcow2 image of \d+ bytes"),
        (lambda: machine.lay_over({DISK: tmp_path / "none.qcow2"}), "there is no"),
    ]
    for asked, why in refused:
        with pytest.raises(BimetalError, match=why):
            asked()
    job = machine.mirror_disk(DISK, new(tmp_path / "copy.qcow2"))
    attempts: list[Callable[[], object]] = [
        lambda: machine.commit_disk(DISK, id="other"),
        lambda: machine.resize_disk(DISK, SIZE + MIB),
        lambda: machine.lay_over({DISK: new(tmp_path / "over.qcow2", Path(top))}),
        lambda: machine.save(tmp_path / "saved"),
        lambda: machine.savevm("kept"),
        machine.checkpoint,
    ]
    for attempt in attempts:
        with pytest.raises(BimetalError, match="is at work on disk0"):
            attempt()
    job.cancel()
    assert job.wait(seconds=LIMIT)
    writer.write(20)
    writer.check()
    machine.close()
    judge(Path(top), writer.model, tmp_path)


def test_what_the_guest_writes_may_be_forgotten(made: Made, tmp_path: Path) -> None:
    machine = made(base(tmp_path, "qcow2"), snapshot=True)
    attempts: list[Callable[[], object]] = [
        lambda: machine.mirror_disk(DISK, new(tmp_path / "copy.qcow2")),
        lambda: machine.stream_disk(DISK),
        lambda: machine.lay_over({DISK: new(tmp_path / "over.qcow2", tmp_path / "base.qcow2")}),
    ]
    for attempt in attempts:
        with pytest.raises(BimetalError, match="is not kept"):
            attempt()


def test_a_base_that_another_one_uses(made: Made, tmp_path: Path) -> None:
    """It may be read by several; whoever writes to it is alone."""
    image = base(tmp_path, "qcow2")
    machine = made(new(tmp_path / "one.qcow2", image))
    writer = begun(machine, tmp_path / "one.qcow2")
    writer.write(20)
    other = open_disk(str(image), readonly=True)
    with pytest.raises(BimetalError, match="in use"):
        machine.commit_disk(DISK)
    other.close()
    ended(machine.commit_disk(DISK))
    with pytest.raises(BimetalError, match="in use"):
        open_disk(str(image), readonly=True)
    writer.check()
    machine.close()
    judge(image, writer.model, tmp_path)


def test_the_note_fails_and_nothing_has_moved(made: Made, tmp_path: Path) -> None:
    image = base(tmp_path, "qcow2")
    machine = made(image)
    writer = begun(machine, image)

    def fail(moves: object) -> None:
        raise BimetalError("no room for a note", "make some")

    machine.on_moved = fail
    with pytest.raises(BimetalError, match="no room"):
        machine.lay_over({DISK: new(tmp_path / "top.qcow2", image)})
    job = machine.mirror_disk(DISK, new(tmp_path / "copy.qcow2"))
    assert job.wait(Status.READY, seconds=LIMIT)
    job.complete()
    assert job.wait(seconds=LIMIT)
    assert "no room" in job.error
    assert paths(machine) == ["base.qcow2"]
    writer.write(20)
    writer.check()
    machine.close()
    judge(image, writer.model, tmp_path)


def test_a_machine_that_is_closed_ends_its_jobs(made: Made, tmp_path: Path) -> None:
    image = base(tmp_path, "qcow2")
    machine = made(image)
    writer = begun(machine, image)
    writer.write(20)
    job = machine.mirror_disk(DISK, new(tmp_path / "copy.qcow2"), speed=1)
    machine.close()
    assert job.status is Status.NULL
    judge(image, writer.model, tmp_path)
