"""Options of commands that have to do with the device tree."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click
from msgspec import Struct

from bimetal import Machine
from bimetal.cli.outputs import unwritable

__all__ = ["Trees", "tree_options"]

Answer = TypeVar("Answer")


class Trees(Struct, frozen=True):
    """The options for device trees: the file of a tree to use, those of overlays, and the one to
    write."""

    dtb: str | None = None
    overlays: tuple[str, ...] = ()
    dump: str | None = None

    @property
    def of_machine(self) -> dict[str, Any]:
        """What they say of the arguments of `Machine`."""
        return {"dtb": self.dtb, "dtb_overlays": self.overlays}

    def write(self, machine: Machine) -> int:
        """Write the machine's tree, and say with what to exit. Raises `BimetalError`."""
        blob = machine.device_tree()
        try:
            with click.open_file(str(self.dump), "wb") as file:
                file.write(blob)
        except OSError as error:
            what = f"the device tree {self.dump}"
            raise unwritable(what, error, "'-' for the output") from error
        return 0


def tree_options(command: Callable[..., Answer]) -> Callable[..., Answer]:
    """Options --dtb, --dtb-overlay and --dumpdtb: ``command`` has them as ``trees``."""

    @click.option("--dtb", metavar="FILE", help="Device tree in place of the board's own.")
    @click.option(
        "--dtb-overlay",
        "overlays",
        multiple=True,
        metavar="FILE",
        help="Change the device tree by an overlay; may be repeated.",
    )
    @click.option("--dumpdtb", metavar="FILE", help="Only write the device tree; '-': to stdout.")
    @wraps(command)
    def gathered(
        dtb: str | None, overlays: tuple[str, ...], dumpdtb: str | None, **others: Any
    ) -> Answer:
        return command(trees=Trees(dtb, overlays, dumpdtb), **others)

    return gathered
