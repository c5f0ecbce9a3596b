"""The command that makes images: a job, though it is done as soon as it has begun."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Any

from bimetal.backends.block.lock import LocksUnsupported, lock_image
from bimetal.backends.block.qcow2.create import write_new
from bimetal.base.late import late
from bimetal.control.commands.nodes import refused
from bimetal.control.commands.registry import MACHINE
from bimetal.control.managed import Managed
from bimetal.machine.live.job import Job, Terms
from bimetal.machine.live.news import JobNews

__all__ = ["blockdev_create"]

FILE, RAW, QCOW2 = "file", "raw", "qcow2"
OPTIONS = {
    "cluster-size": "cluster_size", "backing-file": "backing_file", "backing-fmt": "backing_fmt",
    "refcount-bits": "refcount_bits", "extended-l2": "extended_l2",
    "lazy-refcounts": "lazy_refcounts", "compression-type": "compression_type",
}  # fmt: skip
"""What those of qcow2 are called by `bimetal.images.options`."""

VERSIONS = {"v2": "0.10", "v3": "1.1"}


class Creation(Job):
    """Makes an image by ``make``."""

    kind = "create"

    def __init__(self, terms: Terms, tell: Callable[[JobNews], None], make: Callable[[], None]):
        super().__init__(terms, "", tell)
        self._make = make

    def prepare(self, *, standing: bool) -> None:
        """Nothing is to be done."""

    def work(self) -> None:
        """See `Job.work`."""
        self._make()
        self.moved(1)

    def switch(self) -> None:
        """Nothing is to be done."""

    def undo(self) -> None:
        """What was made is no image yet: its header is written last."""

    @property
    def total(self) -> int:
        """See `Job.total`."""
        return 1


@MACHINE.command("blockdev-create")
def blockdev_create(
    vm: Managed,
    job_id: Annotated[str, "what to call the job"],
    options: Annotated[
        dict[str, Any],
        "driver (file, raw, qcow2), size, and filename of a file, or file: its node; of qcow2 also "
        "cluster-size, backing-file, backing-fmt, version and others of qemu-img create -o",
    ],
) -> None:
    """Make a file, or an image in one that a client has told of."""
    given = {**options}
    driver, size = given.pop("driver", None), given.pop("size", None)
    if driver not in (FILE, RAW, QCOW2) or not isinstance(size, int) or size < 0:
        raise refused("options need a driver (file, raw, qcow2) and a size")
    path = given.pop("filename", None) if driver == FILE else _path(vm, given.pop("file", None))
    if not isinstance(path, str):
        raise refused("a file needs its filename")
    chosen = _chosen(driver, given)
    jobs = vm.machine.jobs
    terms = Terms(job_id, auto_dismiss=False)
    jobs.begin(Creation(terms, jobs.tell, lambda: _make(path, driver, size, chosen)))


def _path(vm: Managed, name: Any) -> str:
    node = vm.nodes.get(name) if isinstance(name, str) else None
    if node is None or node.format is not None:
        raise refused(f"there is no node {str(name)[:80]!r} of a file")
    return node.path


def _chosen(driver: str, given: dict[str, Any]) -> dict[str, Any]:
    """The options as `bimetal.images` has them. Raises `CommandFailed`."""
    chosen = dict[str, Any]()
    if driver == QCOW2 and "version" in given:
        version = given.pop("version")
        if version not in VERSIONS:
            raise refused(f"there is no version {str(version)[:20]!r}")
        chosen["compat"] = VERSIONS[version]
    if given.pop("preallocation", "off") != "off":
        raise refused("nothing is preallocated here: leave preallocation away")
    known = OPTIONS if driver == QCOW2 else {}
    for name, value in given.items():
        if name not in known or not isinstance(value, str | int):
            raise refused(f"{driver} images have no option {name[:80]!r} of that kind")
        chosen[known[name]] = value
    return chosen


def _make(path: str, driver: str, size: int, chosen: dict[str, Any]) -> None:
    """Make the image, in a file that nobody uses. Raises OSError and `BimetalError`."""
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if driver == FILE else 0)
    fd = os.open(path, flags, 0o600)
    try:
        try:
            lock_image(fd, writing=True)
        except LocksUnsupported:
            pass
        except BlockingIOError as error:
            raise refused(f"{path[:200]!r} is in use") from error
        if driver == QCOW2:
            options: Any = late("bimetal.images.options:Options")
            new = options.read(driver, chosen).new_image(size)
            new.check()
            os.ftruncate(fd, 0)
            write_new(fd, new)
        else:
            os.ftruncate(fd, size)
    finally:
        os.close(fd)
