"""The command line, first user of the public interface.

Commands are imported when they are called (see `commands.CommandTable`): help is quick, and a
machine is not loaded to list guests.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from types import FrameType

__all__ = ["main", "virsh", "virt_install"]

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


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
    """This is where a process of ours begins, so as little as can be is imported before signals end
    it, while nothing is open yet: Python's handler for SIGINT would answer with a traceback, in the
    middle of an import, and the first process of a container would hear of no other signal."""
    first = os.getpid() == 1
    for number in ENDING if first else (signal.SIGINT,):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end if first else signal.SIG_DFL)
    import_module("bimetal.cli.entry").main(arguments, program)


def _end(number: int, frame: FrameType | None) -> None:
    """What the kernel does to others than the first process of a container."""
    os._exit(128 + number)
