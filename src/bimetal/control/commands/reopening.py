"""The command that changes how images are opened that clients have told of."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec.structs import replace

from bimetal.base.paths import same_file
from bimetal.control.commands.drives import node_told
from bimetal.control.commands.nodes import images_in_use, refused
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import read_arguments
from bimetal.control.managed import BlockNode, Managed

__all__ = ["blockdev_reopen"]


@MACHINE.command("blockdev-reopen")
def blockdev_reopen(
    vm: Managed,
    options: Annotated[
        list[dict[str, Any]], "of each image the arguments of blockdev-add as they are to be"
    ],
) -> None:
    """Have images be only read, or written: of a disk those that others lie on. What they lie on
    themselves, and where they are, can be changed as long as nobody uses them."""
    wanted = [_wanted(vm, each) for each in options]
    for name, node in wanted:
        image = images_in_use(vm, node.path)[:1] if node.format is not None else []
        if image and image[0].readonly != node.readonly:
            vm.machine.reopen_image(node.path, readonly=node.readonly)
        with vm.lock:
            vm.nodes[name] = node


def _wanted(vm: Managed, options: dict[str, Any]) -> tuple[str, BlockNode]:
    """A node, and what it shall be. Raises `CommandFailed`."""
    asked = read_arguments(MACHINE["blockdev-add"], options)
    name, backing = asked["node_name"], asked["backing"]
    if name not in vm.nodes:
        raise refused(f"there is no node {name[:80]!r}")
    before = vm.nodes[name]
    after = node_told(
        vm, asked["driver"], asked["filename"], asked["file"], backing, readonly=asked["read_only"]
    )
    if after.format != before.format:
        raise refused(f"the node {name!r} is of another driver than {asked['driver']}")
    used = images_in_use(vm, before.path)
    if not used:
        return name, after
    if not same_file(before.path, after.path):
        raise refused(f"the node {name!r} is in use: its file stays {before.path[:200]!r}")
    below = used[1].path if len(used) > 1 else ""
    if backing and not same_file(vm.nodes[backing].path, below):
        raise refused(f"the node {name!r} is in use: it does not come to lie on {backing!r}")
    return name, replace(after, backing=backing or before.backing)
