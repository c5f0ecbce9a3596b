"""The command that has a client told when an image needs more room."""

from __future__ import annotations

from typing import Annotated

from bimetal.control.commands.nodes import refused
from bimetal.control.commands.registry import MACHINE
from bimetal.control.events import Event, ThresholdData
from bimetal.control.managed import Managed

__all__ = ["block_set_write_threshold"]


@MACHINE.command("block-set-write-threshold")
def block_set_write_threshold(
    vm: Managed,
    node_name: Annotated[str, "the image of a disk, or its file: bytes of that are meant then"],
    write_threshold: Annotated[int, "bytes; 0 to be told no more"],
) -> None:
    """Tell of it by an event, once, when something is written beyond so many bytes."""
    node = vm.nodes.get(node_name)
    if node is None:
        raise refused(f"there is no node {node_name[:80]!r}")
    if write_threshold < 0:
        raise refused(f"the threshold {write_threshold} is less than 0")

    def told(beyond: int) -> None:
        data = ThresholdData(
            node_name=node_name, amount_exceeded=beyond, write_threshold=write_threshold
        )
        vm.on_event(Event("BLOCK_WRITE_THRESHOLD", data))

    of_file = node.format is None
    vm.machine.set_write_threshold(node.path, write_threshold, told, of_file=of_file)
