"""Commands that lay images over disks (external snapshots), and do several things at one moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from bimetal.control.commands.nodes import refused
from bimetal.control.commands.registry import MACHINE
from bimetal.control.commands.together import Together, alone
from bimetal.control.contract import Answer, read_arguments
from bimetal.control.managed import Managed

__all__ = ["TransactionAction", "blockdev_snapshot", "blockdev_snapshot_sync", "transaction"]

KINDS: dict[str, Callable[..., None]] = {
    "block-dirty-bitmap-add": Together.add_bitmap,
    "block-dirty-bitmap-clear": Together.clear_bitmap,
    "block-dirty-bitmap-disable": Together.disable_bitmap,
    "block-dirty-bitmap-enable": Together.enable_bitmap,
    "block-dirty-bitmap-merge": Together.merge_bitmaps,
    "block-dirty-bitmap-remove": Together.remove_bitmap,
    "blockdev-backup": Together.backup,
    "blockdev-snapshot": Together.snapshot,
    "blockdev-snapshot-sync": Together.snapshot_sync,
    "drive-backup": Together.drive_backup,
}
"""What may be done with others at one moment: commands, and what each adds."""


class TransactionAction(Answer, forbid_unknown_fields=True):
    """Something to be done with others at one moment."""

    type: Annotated[
        str,
        "blockdev-snapshot, blockdev-snapshot-sync, blockdev-backup, drive-backup, or one of "
        "block-dirty-bitmap-add, -clear, -disable, -enable, -merge, -remove",
    ]
    data: Annotated[dict[str, Any], "the arguments of the command of that name"]


@MACHINE.command("blockdev-snapshot", features=("allow-write-only-overlay",))
def blockdev_snapshot(
    vm: Managed,
    node: Annotated[str, "the image that the guest writes to"],
    overlay: Annotated[str, "a qcow2 image that is empty, for what it writes from now on"],
) -> None:
    """Lay an image that a client has told of over a disk."""
    alone(vm, Together.snapshot, node=node, overlay=overlay)


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
    alone(
        vm,
        Together.snapshot_sync,
        snapshot_file=snapshot_file,
        device=device,
        node_name=node_name,
        snapshot_node_name=snapshot_node_name,
        format=format,
        mode=mode,
    )


@MACHINE.command("transaction")
def transaction(
    vm: Managed,
    actions: Annotated[list[TransactionAction], "what to do: snapshots, backups, and bitmaps"],
    properties: Annotated[
        dict[Literal["completion-mode"], Literal["individual"]] | None,
        "accepted: jobs are on their own",
    ] = None,
) -> None:
    """Do several things to disks at one moment, in their order: all or none."""
    asked = [(each.type, _arguments(each)) for each in actions]
    with Together(vm) as together:
        for kind, arguments in asked:
            KINDS[kind](together, **arguments)
        together.carry_out()


def _arguments(action: TransactionAction) -> dict[str, Any]:
    """The arguments of an action, as its command takes them. Raises `CommandFailed`."""
    kind, data = action.type, action.data
    if kind not in KINDS:
        raise refused(f"{kind[:80]!r} is not done in a transaction: there are {', '.join(KINDS)}")
    command = MACHINE[kind]
    known = {each.external for each in command.parameters}
    needed = {each.external for each in command.parameters if each.required}
    if strange := data.keys() - known:
        raise refused(f"{kind} takes no {', '.join(sorted(strange))}")
    if missing := needed - data.keys():
        raise refused(f"{kind} needs {', '.join(sorted(missing))}")
    return read_arguments(command, data)
