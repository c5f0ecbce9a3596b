"""Write the reference page of the commands that act on a machine: docs/qmp-reference.md.

python -m tools.command_reference
"""

from __future__ import annotations

from pathlib import Path

from bimetal.control.commands import MACHINE
from bimetal.control.events import EVENTS
from bimetal.control.reference import reference

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "qmp-reference.md"

INTRODUCTION = """# The commands of QMP

Written by `python -m tools.command_reference` from the commands themselves: change their
annotations and docstrings. [qmp.md](qmp.md) says how commands are sent."""


def page() -> str:
    """The text of the page."""
    return reference(MACHINE, EVENTS, INTRODUCTION)


if __name__ == "__main__":
    PAGE.write_text(page())
