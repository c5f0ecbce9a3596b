"""The command line, first user of the public interface.

Commands are imported when they are called (see `commands.CommandTable`): help is quick, and a
machine is not loaded to list guests.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from bimetal.control.early import end_by_signals

__all__ = ["main", "virsh", "virt_install"]


def main(arguments: Sequence[str] | None = None) -> None:
    """See `bimetal.cli.entry.main`."""
    _begin("bimetal.cli.program", arguments)


def virsh(arguments: Sequence[str] | None = None) -> None:
    """The program ``bimetal-virsh``, see `bimetal.cli.virsh`."""
    _begin("bimetal.cli.virsh", arguments)


def virt_install(arguments: Sequence[str] | None = None) -> None:
    """The program ``bimetal-virt-install``, which is ``bimetal install``."""
    _begin("bimetal.cli.program", ["install", *(sys.argv[1:] if arguments is None else arguments)])


def _begin(program: str, arguments: Sequence[str] | None) -> None:
    """This is where a process of ours begins."""
    end_by_signals()
    import_module("bimetal.cli.entry").main(arguments, program)
