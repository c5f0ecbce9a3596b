"""The reference page of the commands is that of the commands that there are."""

from __future__ import annotations

from pathlib import Path

from bimetal.cli.shown import SHOWN
from bimetal.control.commands import MACHINE
from bimetal.control.verbs import HOST
from tools.command_reference import PAGE, page

VERBS = Path(__file__).resolve().parents[2] / "docs" / "control.md"


def test_the_page_is_what_the_commands_say() -> None:
    assert PAGE.read_text() == page(), "run: python -m tools.command_reference"


def test_the_table_of_verbs_is_that_of_the_verbs_that_there_are() -> None:
    shown = {line for line in VERBS.read_text().splitlines() if line.startswith("| `")}
    assert {f"| `{verb.name}` | {verb.summary} |" for verb in HOST} <= shown


def test_every_verb_is_explained_and_shown() -> None:
    for verb in HOST:
        assert all(parameter.help for parameter in verb.parameters), verb.name
    assert {verb.name for verb in HOST} == SHOWN.keys()


def test_every_command_is_there() -> None:
    text = PAGE.read_text()
    assert all(f"\n### {command.name}\n" in text for command in MACHINE)
