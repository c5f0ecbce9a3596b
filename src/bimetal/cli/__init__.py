"""The command line, first user of the public interface.

Commands are imported when they are called (see `commands.CommandTable`): help is quick, and a
machine is not loaded to list guests.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from importlib import import_module

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
    """This is where a process of ours begins, so as little as can be is imported before SIGINT does
    what it does to other programs: Python's handler would answer with a traceback, in the middle of
    an import."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    import_module("bimetal.cli.entry").main(arguments, program)
