"""The command line, first user of the public interface.

Commands are imported when they are called (see `commands.CommandTable`): help is quick, and a
machine is not loaded to list guests.
"""

from __future__ import annotations

from bimetal.cli.entry import main

__all__ = ["main"]
