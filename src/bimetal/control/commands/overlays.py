"""Commands that lay images over disks (external snapshots), and do several things at one moment."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import Annotated, Any, Literal

from bimetal.base.late import late
from bimetal.base.paths import same_file
from bimetal.control.commands.copies import backup_arguments, made_target
from bimetal.control.commands.nodes import disk_of, node_named, refused
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.managed import Managed

__all__ = ["TransactionAction", "blockdev_snapshot", "blockdev_snapshot_sync", "transaction"]

SNAPSHOTS = ("blockdev-snapshot", "blockdev-snapshot-sync")
TERMS = {
    "job-id": "id", "speed": "speed", "on-source-error": "on_source_error",
    "on-target-error": "on_target_error", "auto-finalize": "auto_finalize",
    "auto-dismiss": "auto_dismiss",
}  # fmt: skip
KNOWN = {
    "blockdev-snapshot": {"node", "overlay"},
    "blockdev-snapshot-sync": {
        "device", "node-name", "snapshot-file", "snapshot-node-name", "format", "mode",
    },
    "blockdev-backup": {"device", "target", "sync", *TERMS},
    "drive-backup": {"device", "target", "sync", "format", "mode", *TERMS},
}  # fmt: skip
NEEDED = {
    "blockdev-snapshot": {"node", "overlay"},
    "blockdev-snapshot-sync": {"snapshot-file"},
    "blockdev-backup": {"device", "target", "sync"},
    "drive-backup": {"device", "target", "sync"},
}


class TransactionAction(Answer, forbid_unknown_fields=True):
    """Something to be done with others at one moment."""

    type: Annotated[str, "blockdev-snapshot, blockdev-snapshot-sync, blockdev-backup, drive-backup"]
    data: Annotated[dict[str, Any], "the arguments of the command of that name"]


@MACHINE.command("blockdev-snapshot", features=("allow-write-only-overlay",))
def blockdev_snapshot(
    vm: Managed,
    node: Annotated[str, "the image that the guest writes to"],
    overlay: Annotated[str, "a qcow2 image that is empty, for what it writes from now on"],
) -> None:
    """Lay an image that a client has told of over a disk."""
    _snapshot(vm, [{"type": "blockdev-snapshot", "data": {"node": node, "overlay": overlay}}])


@MACHINE.command("blockdev-snapshot-sync")
def blockdev_snapshot_sync(
    vm: Managed,
    snapshot_file: Annotated[str, "the path of the image for what the guest writes from now on"],
    device: Annotated[str, "the disk, by its name or its device"] = "",
    node_name: Annotated[str, "the same by the node of its image"] = "",
    snapshot_node_name: Annotated[str, "what to call the node of that image"] = "",
    format: Annotated[Literal["qcow2"], "its format"] = "qcow2",
    mode: Annotated[
        Literal["existing", "absolute-paths"], "whether it is there, or is to be made"
    ] = "absolute-paths",
) -> None:
    """Lay an image over a disk."""
    data = {
        "snapshot-file": snapshot_file,
        "device": device,
        "node-name": node_name,
        "snapshot-node-name": snapshot_node_name,
        "format": format,
        "mode": mode,
    }
    _snapshot(vm, [{"type": "blockdev-snapshot-sync", "data": data}])


@MACHINE.command("transaction")
def transaction(
    vm: Managed,
    actions: Annotated[list[TransactionAction], "what to do: snapshots, or backups"],
    properties: Annotated[
        dict[Literal["completion-mode"], Literal["individual"]] | None,
        "accepted: jobs are on their own",
    ] = None,
) -> None:
    """Lay images over several disks, or begin several backups, at one moment: all or none."""
    asked = [{"type": each.type, "data": each.data} for each in actions]
    for each in asked:
        _check(each)
    kinds = {each["type"] in SNAPSHOTS for each in asked}
    if len(kinds) > 1:
        raise refused("snapshots and backups are not done at one moment")
    if True in kinds:
        _snapshot(vm, asked)
    elif kinds:
        with ExitStack() as made:
            vm.machine.backup_disks([_backup(vm, each, made) for each in asked])


def _check(action: dict[str, Any]) -> None:
    kind, data = action["type"], action["data"]
    if kind not in KNOWN:
        raise refused(f"{kind[:80]!r} is not done in a transaction: there are {', '.join(KNOWN)}")
    if strange := data.keys() - KNOWN[kind]:
        raise refused(f"{kind} takes no {', '.join(sorted(strange))}")
    if missing := NEEDED[kind] - data.keys():
        raise refused(f"{kind} needs {', '.join(sorted(missing))}")


def _snapshot(vm: Managed, actions: list[dict[str, Any]]) -> None:
    """Lay images over disks. Raises `BimetalError`, and then files that were made are gone."""
    overlays, made, named = dict[str, str](), list[str](), list[tuple[str, str, str]]()
    try:
        for action in actions:
            data = action["data"]
            if action["type"] == "blockdev-snapshot":
                if _is_of_a_mirror(vm, data["overlay"]):
                    continue
                drive = disk_of(vm, data["node"])
                path = node_named(vm, data["overlay"]).path
                named.append((drive, data["overlay"], path))
            else:
                drive = disk_of(vm, data.get("device") or data.get("node-name") or "")
                path = os.path.abspath(data["snapshot-file"])
                if data.get("mode", "absolute-paths") != "existing":
                    _make(vm, drive, path)
                    made.append(path)
                if name := data.get("snapshot-node-name"):
                    named.append((drive, name, path))
            if drive in overlays:
                raise refused(f"{drive} is there twice")
            overlays[drive] = path
        _lay_over(vm, overlays, named)
    except BaseException:
        for path in made:
            with suppress(OSError):
                os.unlink(path)
        raise


def _lay_over(vm: Managed, overlays: dict[str, str], named: list[tuple[str, str, str]]) -> None:
    add = late("bimetal.control.commands.drives:blockdev_add")
    new = list[str]()
    try:
        for _, name, path in named:
            if name not in vm.nodes:
                file = {"driver": "file", "filename": path}
                add(vm, driver="qcow2", node_name=name, file=file)
                new.append(name)
        vm.machine.lay_over(overlays)
    except BaseException:
        for name in new:
            vm.nodes.pop(name, None)
        raise


def _make(vm: Managed, drive: str, path: str) -> None:
    below = vm.machine.images_of(drive)[0]
    if os.path.exists(path) and os.path.getsize(path):
        raise refused(f"{path[:200]!r} is there already: remove it, or say mode=existing")
    late("bimetal.images:create")(
        path, below.size, format="qcow2", backing=below.path, backing_format=below.format,
        unsafe=True,
    )  # fmt: skip


def _is_of_a_mirror(vm: Managed, overlay: str) -> bool:
    """Whether a node is what a job copies to: that lies where it shall already."""
    path = node_named(vm, overlay).path
    mirror: Any = late("bimetal.machine.live.mirror:Mirror")
    return any(
        isinstance(job, mirror) and same_file(job.target.name, path) for job in vm.machine.jobs
    )


def _backup(vm: Managed, action: dict[str, Any], made: ExitStack) -> dict[str, Any]:
    """What `Machine.backup_disk` is given; what is made for it belongs to the context ``made``."""
    data = action["data"]
    terms = {TERMS[name]: data[name] for name in TERMS if name in data}
    if action["type"] == "blockdev-backup":
        return {**backup_arguments(vm, data), **terms}
    drive, mode = disk_of(vm, data["device"]), data.get("mode", "absolute-paths")
    target = made_target(vm, drive, data["target"], data.get("format", ""), mode, data["sync"])
    kind = made.enter_context(target)
    return {
        "drive": drive,
        "target": data["target"],
        "format": kind,
        "sync": data["sync"],
        **terms,
    }
