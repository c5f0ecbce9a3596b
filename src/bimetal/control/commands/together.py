"""What clients want done to disks at one moment, as the machine is asked for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Concatenate, ParamSpec

from bimetal.base.late import late
from bimetal.base.paths import remove_file, same_file
from bimetal.control.commands.copies import backup_arguments, made_target, terms_of
from bimetal.control.commands.nodes import disk_of, image_place, node_named, refused
from bimetal.control.managed import Managed

__all__ = ["Together", "alone"]

P = ParamSpec("P")

MOMENT, BITMAPS = "bimetal.machine.live.moment:", "bimetal.machine.live.bitmaps:"


class Together:
    """Actions on the disks of a machine. The methods add one each, with the arguments of the QMP
    command of such a name, and raise `BimetalError`. A context, at whose end files that were made
    for them, and nodes that were named, are gone again unless `carry_out` was called."""

    def __init__(self, vm: Managed):
        self._vm = vm
        self._actions: list[Any] = []
        self._overlays: dict[str, str] = {}
        self._backups = 0
        self._targets, self._undo = ExitStack(), ExitStack()

    def __enter__(self) -> Together:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._targets.__exit__(kind, error, traceback)
        self._undo.close()

    def carry_out(self) -> None:
        """Do all of them, or none. Raises `BimetalError`."""
        if self._overlays and self._backups:
            raise refused("snapshots and backups are not done at one moment")
        if self._actions:
            self._vm.machine.at_once(self._actions)
        self._undo.pop_all()

    # Snapshots and backups

    def snapshot(self, *, node: str, overlay: str) -> None:
        """blockdev-snapshot"""
        path = node_named(self._vm, overlay).path
        if not self._is_of_a_mirror(path):
            self._lay_over(disk_of(self._vm, node), path, overlay)

    def snapshot_sync(
        self, *, snapshot_file: str, device: str, node_name: str, snapshot_node_name: str,
        format: str, mode: str,
    ) -> None:  # fmt: skip
        """blockdev-snapshot-sync"""
        drive, path = disk_of(self._vm, device or node_name), os.path.abspath(snapshot_file)
        if mode != "existing":
            self._make(drive, path, format)
        self._lay_over(drive, path, snapshot_node_name)

    def backup(self, **asked: Any) -> None:
        """blockdev-backup"""
        terms = terms_of(self._vm, asked)
        self._begin({**backup_arguments(self._vm, **asked), **terms})

    def drive_backup(self, *, format: str, mode: str, target: str, **asked: Any) -> None:
        """drive-backup"""
        terms = terms_of(self._vm, asked)
        drive, sync = disk_of(self._vm, asked["device"]), asked["sync"]
        made = made_target(self._vm, drive, target, format, mode, sync)
        kind = self._targets.enter_context(made)
        own = {"drive": drive, "target": target, "format": kind, "sync": sync}
        words = {"bitmap": asked["bitmap"], "bitmap_mode": asked["bitmap_mode"] or ""}
        self._begin({**own, **words, **terms})

    # Bitmaps

    def add_bitmap(
        self, *, node: str, name: str, granularity: int | None, persistent: bool, disabled: bool
    ) -> None:
        """block-dirty-bitmap-add"""
        if granularity is not None and granularity < 1:
            raise refused(f"the granularity {granularity} is no power of two")
        self._change(
            "AddBitmap", node, name,
            granularity=granularity or 0, persistent=persistent, recording=not disabled,
        )  # fmt: skip

    def remove_bitmap(self, *, node: str, name: str) -> None:
        """block-dirty-bitmap-remove"""
        self._change("RemoveBitmap", node, name)

    def clear_bitmap(self, *, node: str, name: str) -> None:
        """block-dirty-bitmap-clear"""
        self._change("ClearBitmap", node, name)

    def enable_bitmap(self, *, node: str, name: str) -> None:
        """block-dirty-bitmap-enable"""
        self._change("RecordBitmap", node, name, on=True)

    def disable_bitmap(self, *, node: str, name: str) -> None:
        """block-dirty-bitmap-disable"""
        self._change("RecordBitmap", node, name, on=False)

    def merge_bitmaps(self, *, node: str, target: str, bitmaps: list[Any]) -> None:
        """block-dirty-bitmap-merge"""
        sources = [
            self._at(node, each) if isinstance(each, str) else self._at(each.node, each.name)
            for each in bitmaps
        ]
        self._change("MergeBitmaps", node, target, sources=tuple(sources))

    # Parts of these

    def _change(self, kind: str, node: str, name: str, **more: Any) -> None:
        change = late(f"{BITMAPS}{kind}")
        self._actions.append(change(self._at(node, name), **more))

    def _at(self, node: str, name: str) -> Any:
        drive, path = image_place(self._vm, node)
        return late(f"{BITMAPS}BitmapAt")(drive, name, path)

    def _begin(self, arguments: dict[str, Any]) -> None:
        self._backups += 1
        self._actions.append(late(f"{MOMENT}BackUp")(arguments))

    def _lay_over(self, drive: str, path: str, node: str) -> None:
        if drive in self._overlays:
            raise refused(f"{drive} is there twice")
        if node and node not in self._vm.nodes:
            file = {"driver": "file", "filename": path}
            add = late("bimetal.control.commands.drives:blockdev_add")
            add(self._vm, driver="qcow2", node_name=node, file=file)
            self._undo.callback(self._vm.nodes.pop, node, None)
        self._overlays[drive] = path
        self._actions.append(late(f"{MOMENT}LayOver")(drive, path))

    def _make(self, drive: str, path: str, format: str) -> None:
        below = self._vm.machine.images_of(drive)[0]
        if os.path.exists(path) and os.path.getsize(path):
            raise refused(f"{path[:200]!r} is there already: remove it, or say mode=existing")
        late("bimetal.images:create")(
            path, below.size, format=format, backing=below.path, backing_format=below.format,
            unsafe=True,
        )  # fmt: skip
        self._undo.callback(partial(remove_file, path))

    def _is_of_a_mirror(self, path: str) -> bool:
        """Whether an image is what a job copies to: that lies where it shall already."""
        mirror: Any = late("bimetal.machine.live.mirror:Mirror")
        return any(
            isinstance(job, mirror) and same_file(job.target.name, path)
            for job in self._vm.machine.jobs
        )


def alone(
    vm: Managed, add: Callable[Concatenate[Together, P], None], *own: P.args, **named: P.kwargs
) -> None:
    """Carry out a single action: what the method ``add`` of `Together` adds with such arguments.
    Raises `BimetalError`."""
    with Together(vm) as together:
        add(together, *own, **named)
        together.carry_out()
