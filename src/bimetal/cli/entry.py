"""Where the program begins and ends.

The end is looked after before anything else is imported: a person may interrupt that too, and the
first process of a container would not hear of a signal that comes before its handler.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from bimetal.cli.ending import Ending, is_of_signal
from bimetal.cli.status import STATUS
from bimetal.cli.streams import finish, open_streams
from bimetal.control.collecting import collect_seldom

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None, program: str = "bimetal.cli.program") -> None:
    """Run the command line in the module ``program``, and end the process with its exit code, or as
    a signal demands."""
    collect_seldom()
    open_streams()  # before anything is opened that could get the number of a closed one
    ending = Ending()
    code = 0
    try:
        with ending:
            code = finish(import_module(program).run(arguments, ending))
    except BaseException as error:
        if not ending.signal:
            raise
        if not is_of_signal(error):  # a defect in what was done because of the signal
            sys.excepthook(type(error), error, error.__traceback__)
    STATUS.erase()
    ending.die()
    sys.exit(128 + ending.signal if ending.signal else code)
