"""Commands about dirty bitmaps, which tell incremental backups what has changed."""

from __future__ import annotations

from typing import Annotated

from bimetal.control.commands.registry import MACHINE
from bimetal.control.commands.together import Together, alone
from bimetal.control.contract import Answer
from bimetal.control.managed import Managed

__all__ = [
    "BitmapSource",
    "bitmap_add",
    "bitmap_clear",
    "bitmap_disable",
    "bitmap_enable",
    "bitmap_merge",
    "bitmap_remove",
]

Node = Annotated[str, "the image, by its node, or the disk that it is of"]
Name = Annotated[str, "what the bitmap is called"]


class BitmapSource(Answer, forbid_unknown_fields=True):
    """A bitmap of any image."""

    node: Node
    name: Name


@MACHINE.command("block-dirty-bitmap-add")
def bitmap_add(
    vm: Managed,
    node: Node,
    name: Annotated[str, "what to call the bitmap, in 1,023 bytes at most"],
    granularity: Annotated[
        int | None, "bytes that are told apart, a power of two from 512 on; what suits the image"
    ] = None,
    persistent: Annotated[bool, "whether a qcow2 image keeps it when the machine ends"] = False,
    disabled: Annotated[bool, "whether it does not mark what changes"] = False,
) -> None:
    """Have a dirty bitmap mark what changes in an image from now on."""
    alone(
        vm,
        Together.add_bitmap,
        node=node,
        name=name,
        granularity=granularity,
        persistent=persistent,
        disabled=disabled,
    )


@MACHINE.command("block-dirty-bitmap-remove")
def bitmap_remove(vm: Managed, node: Node, name: Name) -> None:
    """Have an image no longer have a bitmap."""
    alone(vm, Together.remove_bitmap, node=node, name=name)


@MACHINE.command("block-dirty-bitmap-clear")
def bitmap_clear(vm: Managed, node: Node, name: Name) -> None:
    """Have a bitmap mark nothing."""
    alone(vm, Together.clear_bitmap, node=node, name=name)


@MACHINE.command("block-dirty-bitmap-enable")
def bitmap_enable(vm: Managed, node: Node, name: Name) -> None:
    """Have a bitmap mark what changes from now on."""
    alone(vm, Together.enable_bitmap, node=node, name=name)


@MACHINE.command("block-dirty-bitmap-disable")
def bitmap_disable(vm: Managed, node: Node, name: Name) -> None:
    """Have a bitmap stay as it is from now on."""
    alone(vm, Together.disable_bitmap, node=node, name=name)


@MACHINE.command("block-dirty-bitmap-merge")
def bitmap_merge(
    vm: Managed,
    node: Node,
    target: Name,
    bitmaps: Annotated[
        list[str | BitmapSource], "others, by their names in the same image, or by node and name"
    ],
) -> None:
    """Have a bitmap mark what others mark, too."""
    alone(vm, Together.merge_bitmaps, node=node, target=target, bitmaps=bitmaps)
