"""Jobs that are held, given up, refused, or meet errors of the host: the guest notices nothing."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.memory import MemoryDisk
from bimetal.base.errors import BimetalError
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.machine.events import EventKind, MachineEvent
from bimetal.machine.live.job import Job, Terms
from bimetal.machine.live.mirror import Mirror
from bimetal.machine.live.moment import BackUp
from bimetal.machine.live.news import NewsKind, Status
from bimetal.machine.live.overlays import lay_over
from bimetal.machine.machine import Machine
from tests.backends.block.qcow2 import qemu
from tests.machine.live.conftest import MIB, Made
from tests.machine.live.layers import (
    DISK,
    LIMIT,
    SIZE,
    base,
    begun,
    ended,
    judge,
    layered,
    new,
    paths,
)

pytestmark = qemu.needs_qemu


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


class Failing(MemoryDisk):
    """A disk in memory that has no room until it is told otherwise."""

    def __init__(self) -> None:
        super().__init__(bytes(SIZE))
        self.name, self.full, self.tried = "memory", True, threading.Event()
        self.failures = 0

    def _check(self) -> None:
        self.tried.set()
        if self.full:
            self.failures += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        self._check()
        super().writev(offset, buffers)

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        self._check()
        super().write_zeroes(offset, length, unmap=unmap)


def mirror(machine: Machine, target: MemoryDisk, policy: str = "report") -> Job:
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


def test_a_job_that_ends_tries_again_no_more_often(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bimetal.machine.live.job.RETRY_SECONDS", 1e6)
    machine = made(base(tmp_path, "qcow2"))
    writer = begun(machine, tmp_path / "base.qcow2")
    target, failed = Failing(), threading.Event()
    target.full = False
    job = mirror(machine, target, "ignore")

    def hear(event: MachineEvent) -> None:
        if _is_error(event) and not failed.is_set():
            job.complete()
            failed.set()

    with machine.on_event(hear):
        assert job.wait(Status.READY, seconds=LIMIT)
        target.full = True
        writer.write()
        assert failed.wait(LIMIT)
        job.cancel()
        assert job.wait(seconds=LIMIT)
    assert target.failures == 1


class Observed(MemoryDisk):
    """A disk in memory that notes whether requests of the guest waited when it was closed."""

    def __init__(self, machine: Machine):
        super().__init__(bytes(SIZE))
        self.name = "memory"
        self._device = machine.device(VirtioBlock)
        self.seen: list[bool] = []

    def close(self) -> None:
        self.seen.append(self._device.stands_still(0))
        super().close()


@pytest.mark.parametrize("force", [True, False])
def test_a_copy_is_let_go_while_requests_wait(made: Made, tmp_path: Path, force: bool) -> None:
    machine = made(base(tmp_path, "qcow2"))
    writer = begun(machine, tmp_path / "base.qcow2")
    target = Observed(machine)
    with writer:
        job = mirror(machine, target)
        assert job.wait(Status.READY, seconds=LIMIT)
        job.cancel(force=force)
        assert job.wait(seconds=LIMIT)
    assert target.seen == [True]


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
        lambda: machine.commit_disk(DISK, base="elsewhere"),
        lambda: machine.mirror_disk(DISK, image),
        lambda: machine.at_once([BackUp({"drive": DISK, "target": image})]),
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


def test_one_thing_at_a_time_is_done_to_a_disk(made: Made, tmp_path: Path) -> None:
    image = base(tmp_path, "qcow2")
    machine = made(image)
    copy, over = new(tmp_path / "copy.qcow2"), new(tmp_path / "over.qcow2", image)
    attempts: list[Callable[[], object]] = [
        lambda: machine.lay_over({DISK: over}),
        lambda: machine.commit_disk(DISK),
        lambda: machine.stream_disk(DISK),
        lambda: machine.mirror_disk(DISK, copy),
        lambda: machine.backup_disk(DISK, copy),
        lambda: machine.at_once([BackUp({"drive": DISK, "target": copy})]),
        lambda: machine.resize_disk(DISK, SIZE + MIB),
        lambda: machine.save(tmp_path / "saved"),
        machine.jobs.bar,
    ]
    with machine.jobs.alone(DISK):
        for attempt in attempts:
            with pytest.raises(BimetalError, match="something else is being done to disk0"):
                attempt()
    machine.jobs.bar()
    for attempt in attempts:
        with pytest.raises(BimetalError, match="is moving to another process"):
            attempt()
    machine.jobs.barred = False
    machine.lay_over({DISK: over})
    ended(machine.commit_disk(DISK))
    machine.jobs.check_idle()


def test_a_copy_that_takes_its_place_already_is_not_given_up(made: Made, tmp_path: Path) -> None:
    machine = made(base(tmp_path, "qcow2"))
    job = machine.mirror_disk(DISK, new(tmp_path / "copy.qcow2"))
    refused: list[str] = []

    def note(moves: object) -> None:
        for late in (job.cancel, job.finalize):
            with pytest.raises(BimetalError) as caught:
                late()
            refused.append(caught.value.cause)

    machine.on_moved = note
    ended(job)
    assert refused == [f"the job 'disk0' is pending and cannot be {what}" for what in (
        "cancelled", "finalized")]  # fmt: skip
    assert paths(machine) == ["copy.qcow2"]


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


def test_a_host_that_fails_is_the_users_trouble(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int, *_: int) -> None:
        if Path(f"/proc/self/fd/{fd}").readlink() == image:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    image = base(tmp_path, "raw")
    machine = made(image, format="raw")
    over = new(tmp_path / "over.qcow2", image)
    with monkeypatch.context() as patched:
        patched.setattr(os, "ftruncate", fail)
        with pytest.raises(BimetalError, match="disk0 cannot be made larger: Input/output error"):
            machine.resize_disk(DISK, SIZE + MIB)
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(BimetalError, match="laid over the disk: Input/output error"):
            machine.lay_over({DISK: over})
    assert paths(machine) == ["base.img"]
    assert not machine.images_of(DISK)[0].readonly


def test_images_that_are_removed_meanwhile_become_no_disk(made: Made, tmp_path: Path) -> None:
    image, copy, over = base(tmp_path, "qcow2"), new(tmp_path / "copy.qcow2"), tmp_path / "over"
    machine = made(image)
    writer = begun(machine, image)
    new(over, image)
    with machine._built().locked():
        seat = machine._seat(DISK)
    with closing(open_disk(str(over), format="qcow2", alone=True)) as overlay:
        over.unlink()
        with pytest.raises(BimetalError, match="over' was removed meanwhile"):
            lay_over([(seat, overlay)], lambda _: None)
    job = machine.mirror_disk(DISK, copy)
    assert job.wait(Status.READY, seconds=LIMIT)
    copy.unlink()
    job.complete()
    assert job.wait(seconds=LIMIT)
    assert "was removed meanwhile" in job.error
    assert paths(machine) == ["base.qcow2"]
    writer.write(20)
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


def test_a_job_ends_with_the_disk_that_it_follows(made: Made, tmp_path: Path) -> None:
    image, copy = base(tmp_path, "qcow2"), new(tmp_path / "copy.qcow2")
    top = new(tmp_path / "top.qcow2", image)
    machine = made(board="riscv-virt,ports=1")
    jobs: list[Callable[[str], Job]] = [
        lambda name: machine.mirror_disk(name, copy),
        machine.commit_disk,
    ]
    for begin in jobs:
        name = machine.plug_disk(top)
        job = begin(name)
        assert job.wait(Status.READY, seconds=LIMIT)
        machine.unplug(name, force=True)
        assert job.wait(seconds=LIMIT)
        assert "is not in the machine any more" in job.error
        for path in (image, top, copy):
            open_disk(str(path), format="qcow2", alone=True).close()  # which others use no more


def test_a_machine_that_is_closed_ends_its_jobs(made: Made, tmp_path: Path) -> None:
    image = base(tmp_path, "qcow2")
    machine = made(image)
    writer = begun(machine, image)
    writer.write(20)
    job = machine.mirror_disk(DISK, new(tmp_path / "copy.qcow2"), speed=1)
    machine.close()
    assert job.status is Status.NULL
    judge(image, writer.model, tmp_path)
