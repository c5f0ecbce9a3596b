"""The command that makes images: a job, though it is done as soon as it has begun."""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated, Any

from bimetal.base.late import late
from bimetal.control.commands.nodes import refused
from bimetal.control.commands.registry import MACHINE
from bimetal.control.managed import Managed

__all__ = ["blockdev_create"]

FILE, RAW, QCOW2 = "file", "raw", "qcow2"
OPTIONS = {
    "cluster-size": "cluster_size", "backing-file": "backing_file", "backing-fmt": "backing_fmt",
    "refcount-bits": "refcount_bits", "extended-l2": "extended_l2",
    "lazy-refcounts": "lazy_refcounts", "compression-type": "compression_type",
}  # fmt: skip
"""What those of qcow2 are called by `bimetal.images.options`."""

VERSIONS = {"v2": "0.10", "v3": "1.1"}


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
    jobs, creation = vm.machine.jobs, late("bimetal.machine.live.creation:Creation")
    terms = late("bimetal.machine.live.job:Terms")(job_id, auto_dismiss=False)
    jobs.begin(creation(terms, jobs.tell, path, partial(_fill, driver, size, chosen)))


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


def _fill(driver: str, size: int, chosen: dict[str, Any], fd: int) -> None:
    """Make an image of the file ``fd``, which nobody uses. Raises OSError and `BimetalError`."""
    if driver != QCOW2:
        os.ftruncate(fd, size)
        return
    options: Any = late("bimetal.images.options:Options")
    new = options.read(driver, chosen).new_image(size)
    new.check()
    os.ftruncate(fd, 0)
    late("bimetal.backends.block.qcow2.create:write_new")(fd, new)
