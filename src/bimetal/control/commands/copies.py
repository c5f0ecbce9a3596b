"""Commands that begin jobs on disks: they commit, fill, copy and back up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any, Literal

from bimetal.base.late import late
from bimetal.base.paths import same_file
from bimetal.control.commands.nodes import chains, disk_of, node_named, path_of, refused
from bimetal.control.commands.registry import MACHINE
from bimetal.control.managed import Managed

__all__ = ["backup_arguments", "made_target", "terms_of"]

Device = Annotated[str, "the disk: its name, its device, or the node of its image"]
JobId = Annotated[str, "what to call the job, otherwise as the disk is called"]
Speed = Annotated[int, "bytes that it may do in a second, 0 without a limit"]
Policy = Literal["report", "ignore", "stop", "enospc", "auto"]
OnError = Annotated[
    Policy, "after an error: give up, try again, wait to be resumed, or that if there is no room"
]
Finalize = Annotated[bool, "whether it does its last step by itself"]
Dismiss = Annotated[bool, "whether it is forgotten by itself when it is over"]
Sync = Annotated[
    Literal["full", "top", "none", "incremental", "bitmap"],
    "what to copy: all, what the disk's own image has, or what changes from now on",
]
Bitmap = Annotated[
    str, "a dirty bitmap of the disk, which says what incremental and bitmap copy; it begins anew"
]
BitmapMode = Annotated[
    Literal["on-success", "never", "always"] | None,
    "when the bitmap begins anew: needed with one unless sync is incremental",
]
Name = Annotated[str, "what the image above calls the base from then on, otherwise by its path"]
Format = Annotated[str, "the format of the target"]
Mode = Annotated[
    Literal["existing", "absolute-paths"], "whether the target is there, or is to be made"
]
Target = Annotated[str, "the path of the target"]


@MACHINE.command("block-commit")
def block_commit(
    vm: Managed,
    device: Device,
    job_id: JobId = "",
    base_node: Annotated[str, "the image to write to, by its node"] = "",
    base: Annotated[str, "the same by its path; otherwise the lowest"] = "",
    top_node: Annotated[str, "the highest image to write, by its node"] = "",
    top: Annotated[str, "the same by its path; otherwise what the guest writes to"] = "",
    backing_file: Name = "",
    speed: Speed = 0,
    on_error: OnError = "report",
    auto_finalize: Finalize = True,
    auto_dismiss: Dismiss = True,
) -> None:
    """Write what images of a disk have into one that they lie on. If that is all down from what the
    guest writes to, the job becomes ready, and job-complete has the base take the disk's place."""
    drive = disk_of(vm, device)
    above = path_of(vm, top_node, top)
    images = vm.machine.images_of(drive)
    if above and same_file(above, images[0].path):
        above = ""
    vm.machine.commit_disk(
        drive,
        base=path_of(vm, base_node, base),
        top=above,
        name=backing_file,
        **_terms(job_id or drive, speed, (on_error, on_error), auto_finalize, auto_dismiss),
    )


@MACHINE.command("block-stream")
def block_stream(
    vm: Managed,
    device: Device,
    job_id: JobId = "",
    base_node: Annotated[str, "the image that stays below, by its node"] = "",
    base: Annotated[str, "the same by its path; otherwise none stays"] = "",
    backing_file: Name = "",
    speed: Speed = 0,
    on_error: OnError = "report",
    auto_finalize: Finalize = True,
    auto_dismiss: Dismiss = True,
) -> None:
    """Write what an image shows of those that it lies on into itself; it lies on the base then, or
    on nothing."""
    drive = disk_of(vm, device)
    images = vm.machine.images_of(drive)
    top = vm.nodes[device].path if device in vm.nodes else ""
    vm.machine.stream_disk(
        drive,
        base=path_of(vm, base_node, base),
        top="" if not top or same_file(top, images[0].path) else top,
        name=backing_file,
        **_terms(job_id or drive, speed, (on_error, on_error), auto_finalize, auto_dismiss),
    )


@MACHINE.command("blockdev-mirror")
def blockdev_mirror(
    vm: Managed,
    device: Device,
    target: Annotated[str, "the node of the image to copy to"],
    sync: Sync,
    replaces: Annotated[str, "the node that it takes the place of: what the guest writes to"] = "",
    job_id: JobId = "",
    speed: Speed = 0,
    granularity: Annotated[int, "accepted: bytes that are told apart"] = 0,
    buf_size: Annotated[int, "accepted: bytes that are under way"] = 0,
    copy_mode: Annotated[Literal["background"], "how what changes is copied"] = "background",
    on_source_error: OnError = "report",
    on_target_error: OnError = "report",
    auto_finalize: Finalize = True,
    auto_dismiss: Dismiss = True,
) -> None:
    """Copy a disk, and follow what the guest writes. When the copy is the same the job becomes
    ready, and job-complete has it take the disk's place."""
    drive, node = disk_of(vm, device), node_named(vm, target)
    if replaces and not same_file(node_named(vm, replaces).path, chains(vm)[drive][0]):
        raise refused(f"the copy takes the place of all of {drive}: {replaces[:80]!r} lies below")
    answers = on_source_error, on_target_error
    vm.machine.mirror_disk(
        drive,
        node.path,
        format=node.format,
        sync=sync,
        folders=node.backing_folders,
        **_terms(job_id or drive, speed, answers, auto_finalize, auto_dismiss),
    )


@MACHINE.command("drive-mirror")
def drive_mirror(
    vm: Managed,
    device: Device,
    target: Target,
    sync: Sync,
    format: Format = "",
    mode: Mode = "absolute-paths",
    job_id: JobId = "",
    speed: Speed = 0,
    on_source_error: OnError = "report",
    on_target_error: OnError = "report",
    auto_finalize: Finalize = True,
    auto_dismiss: Dismiss = True,
) -> None:
    """The same as blockdev-mirror, to an image that no client has told of."""
    drive = disk_of(vm, device)
    answers = on_source_error, on_target_error
    terms = _terms(job_id or drive, speed, answers, auto_finalize, auto_dismiss)
    with made_target(vm, drive, target, format, mode, sync) as kind:
        vm.machine.mirror_disk(drive, target, format=kind, sync=sync, **terms)


@MACHINE.command("blockdev-backup")
def blockdev_backup(
    vm: Managed,
    device: Device,
    target: Annotated[str, "the node of the image to copy to"],
    sync: Sync,
    bitmap: Bitmap = "",
    bitmap_mode: BitmapMode = None,
    job_id: JobId = "",
    speed: Speed = 0,
    on_source_error: OnError = "report",
    on_target_error: OnError = "report",
    auto_finalize: Finalize = True,
    auto_dismiss: Dismiss = True,
) -> None:
    """Copy a disk as it is now: what the guest changes meanwhile is copied before."""
    answers, job = (on_source_error, on_target_error), job_id or disk_of(vm, device)
    vm.machine.backup_disk(
        **backup_arguments(
            vm, device=device, target=target, sync=sync, bitmap=bitmap, bitmap_mode=bitmap_mode
        ),
        **_terms(job, speed, answers, auto_finalize, auto_dismiss),
    )


@MACHINE.command("drive-backup")
def drive_backup(
    vm: Managed,
    device: Device,
    target: Target,
    sync: Sync,
    format: Format = "",
    mode: Mode = "absolute-paths",
    bitmap: Bitmap = "",
    bitmap_mode: BitmapMode = None,
    job_id: JobId = "",
    speed: Speed = 0,
    on_source_error: OnError = "report",
    on_target_error: OnError = "report",
    auto_finalize: Finalize = True,
    auto_dismiss: Dismiss = True,
) -> None:
    """The same as blockdev-backup, to an image that no client has told of."""
    answers, drive = (on_source_error, on_target_error), disk_of(vm, device)
    terms = _terms(job_id or drive, speed, answers, auto_finalize, auto_dismiss)
    with made_target(vm, drive, target, format, mode, sync) as kind:
        words = {"bitmap": bitmap, "bitmap_mode": bitmap_mode or ""}
        vm.machine.backup_disk(drive, target, format=kind, sync=sync, **words, **terms)


@MACHINE.command("block_resize")
def block_resize(
    vm: Managed,
    size: Annotated[int, "bytes that the disk is to have"],
    device: Annotated[str, "the disk, by its name or its device"] = "",
    node_name: Annotated[str, "the same by the node of its image"] = "",
) -> None:
    """Make a disk larger, and tell the guest."""
    vm.machine.resize_disk(disk_of(vm, device or node_name), size)


def backup_arguments(
    vm: Managed, *, device: str, target: str, sync: str, bitmap: str, bitmap_mode: str | None
) -> dict[str, Any]:
    """What `Machine.backup_disk` is given for the arguments of blockdev-backup."""
    node = node_named(vm, target)
    return {
        "drive": disk_of(vm, device),
        "target": node.path,
        "format": node.format,
        "sync": sync,
        "bitmap": bitmap,
        "bitmap_mode": bitmap_mode or "",
        "folders": node.backing_folders,
    }


def terms_of(vm: Managed, asked: dict[str, Any]) -> dict[str, Any]:
    """What the job is told by the arguments of a backup, which are taken out of ``asked``."""
    return _terms(
        asked.pop("job_id") or disk_of(vm, asked["device"]),
        asked.pop("speed"),
        (asked.pop("on_source_error"), asked.pop("on_target_error")),
        asked.pop("auto_finalize"),
        asked.pop("auto_dismiss"),
    )


def _terms(
    job: str,
    speed: int,
    on_error: tuple[str, str],
    auto_finalize: bool,
    auto_dismiss: bool,
) -> dict[str, Any]:
    """What the job is told, with what to do about errors of the source and of the target."""
    return {
        "id": job,
        "speed": speed,
        "on_source_error": on_error[0],
        "on_target_error": on_error[1],
        "auto_finalize": auto_finalize,
        "auto_dismiss": auto_dismiss,
    }


@contextmanager
def made_target(
    vm: Managed, drive: str, path: str, format: str, mode: str, sync: str
) -> Iterator[str | None]:
    """A context with the image to copy to, which is made unless it is there, and removed if what
    is done with it fails; its format. Raises `BimetalError`."""
    top, *below = vm.machine.images_of(drive)
    if mode == "existing":
        yield format or None
        return
    kind = format or top.format
    if os.path.exists(path) and os.path.getsize(path):
        raise refused(f"{path[:200]!r} is there already: remove it, or say mode=existing")
    options: dict[str, Any] = {}
    if sync != "full" and below:
        options = {"backing": below[0].path, "backing_format": below[0].format, "unsafe": True}
    late("bimetal.images:create")(path, top.size, format=kind, **options)
    try:
        yield kind
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise
