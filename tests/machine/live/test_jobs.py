"""Jobs that copy, join and fill the images of a disk while the guest writes; qemu-img judges."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bimetal import images
from bimetal.base.errors import BimetalError
from tests.backends.block.qcow2 import qemu
from tests.machine.live.conftest import MIB, Made, Writer
from tests.machine.live.layers import DISK, SIZE, base, begun, ended, judge, layered, new, paths

pytestmark = qemu.needs_qemu


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
