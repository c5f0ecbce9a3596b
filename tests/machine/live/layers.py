"""Disks of images that lie on each other, for tests of jobs on them; qemu-img makes and judges
them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from bimetal import images
from bimetal.backends.block.choose import open_disk
from bimetal.machine.live.job import Job
from bimetal.machine.live.news import Status
from bimetal.machine.machine import Machine
from tests.backends.block.qcow2 import qemu
from tests.machine.live.conftest import MIB, Writer

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
