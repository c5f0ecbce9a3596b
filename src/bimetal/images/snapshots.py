"""Snapshots inside qcow2 images."""

from __future__ import annotations

from bimetal.backends.block.qcow2 import changes
from bimetal.backends.block.qcow2.snapshots import Snapshot
from bimetal.base.clock import wall_nanoseconds
from bimetal.images.opening import opened, qcow2

__all__ = ["Snapshot", "apply_snapshot", "create_snapshot", "delete_snapshot", "snapshots"]

WHAT = "snapshots"


def snapshots(
    path: str, *, format: str | None = None, shared: bool = False, folders: tuple[str, ...] = ()
) -> list[Snapshot]:
    """The snapshots in an image, the oldest first."""
    with opened(path, format, shared=shared, folders=folders) as disk:
        return qcow2(disk, WHAT).snapshots()


def create_snapshot(
    path: str, name: str, *, format: str | None = None, folders: tuple[str, ...] = ()
) -> Snapshot:
    """Keep the disk as it is now under a name."""
    with opened(path, format, writable=True, folders=folders) as disk:
        return changes.create_snapshot(qcow2(disk, WHAT), name, wall_nanoseconds())


def apply_snapshot(
    path: str, key: str, *, format: str | None = None, folders: tuple[str, ...] = ()
) -> None:
    """Make the disk what it was when the snapshot of that identity or name was made. What it is
    now is lost."""
    with opened(path, format, writable=True, folders=folders) as disk:
        changes.apply_snapshot(qcow2(disk, WHAT), key)


def delete_snapshot(
    path: str, key: str, *, format: str | None = None, folders: tuple[str, ...] = ()
) -> None:
    """Forget the snapshot of that identity or name."""
    with opened(path, format, writable=True, folders=folders) as disk:
        changes.delete_snapshot(qcow2(disk, WHAT), key)
