"""The reference page of the commands is that of the commands that there are."""

from __future__ import annotations

from bimetal.control.commands import MACHINE
from tools.command_reference import PAGE, page


def test_the_page_is_what_the_commands_say() -> None:
    assert PAGE.read_text() == page(), "run: python -m tools.command_reference"


def test_every_command_is_there() -> None:
    text = PAGE.read_text()
    assert all(f"\n### {command.name}\n" in text for command in MACHINE)
