"""Commands are functions: what follows from their annotations and docstrings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest

from bimetal.control.commands import MACHINE
from bimetal.control.contract import Answer, plain, read_arguments
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.registry import Registry
from bimetal.control.schema import schema_of

SHELVES = Registry[list[str]]("shelf")


class Place(Answer):
    """Where something is."""

    row_number: Annotated[int, "from 0 on"]
    note: Annotated[str, "anything"] = ""


@SHELVES.command("put-away", kinds="kind")
def put_away(
    shelf: list[str],
    what: Annotated[str, "the thing"],
    how_many: Annotated[int, "copies of it"] = 1,
    kind: Literal["book", "box"] = "box",
) -> Place:
    """Put something on the shelf. It stays there.

    Nobody takes it.
    """
    shelf += [what] * how_many
    return Place(row_number=len(shelf) - how_many)


@SHELVES.command("clear", out_of_band=True)
def clear(shelf: list[str]) -> None:
    """Take everything off"""
    shelf.clear()


def test_a_command_is_described_by_its_function() -> None:
    command = SHELVES["put-away"]
    assert command.summary == "Put something on the shelf."
    assert command.help.endswith("Nobody takes it.")
    assert [each.external for each in command.parameters] == ["what", "how-many", "kind"]
    assert [each.required for each in command.parameters] == [True, False, False]
    assert command.parameters[1].help == "copies of it"
    assert SHELVES["clear"].summary == "Take everything off."


def test_a_command_is_carried_out() -> None:
    shelf: list[str] = []
    given = read_arguments(SHELVES["put-away"], {"what": "tin", "how-many": 2})
    assert given == {"what": "tin", "how_many": 2, "kind": "box"}
    assert plain(SHELVES.call("put-away", shelf, given)) == {"row-number": 0, "note": ""}
    assert shelf == ["tin", "tin"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "missing required field `what`"),
        ({"what": 1}, r"Expected `str`, got `int` - at `\$.what`"),
        ({"what": "x", "how-many": "2"}, r"Expected `int`, got `str` - at `\$.how-many`"),
        ({"what": "x", "how-many": True}, "Expected `int`, got `bool`"),
        ({"what": "x", "how_many": 1}, "unknown field `how_many`"),
        ({"what": "x", "kind": "tin"}, "Invalid enum value 'tin'"),
        ({"what": None}, "Expected `str`, got `null`"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(CommandFailed, match=why) as caught:
        read_arguments(SHELVES["put-away"], given)
    assert caught.value.kind is ErrorClass.GENERIC


def test_an_unknown_command_and_what_was_meant() -> None:
    with pytest.raises(CommandFailed, match=r"no command 'claer'.*did you mean clear") as caught:
        SHELVES.call("claer", [], {})
    assert caught.value.kind is ErrorClass.COMMAND_NOT_FOUND


def test_no_two_commands_have_one_name() -> None:
    with pytest.raises(ValueError, match="two commands are called clear"):
        SHELVES.command("clear")(clear)


def test_the_schema_says_what_commands_take_and_return() -> None:
    schema = {entry["name"]: entry for entry in schema_of(SHELVES, {"FULL": Place, "EMPTY": None})}
    command = schema["put-away"]
    assert command["meta-type"] == "command"
    assert command["allow-oob"] is False
    assert schema[command["arg-type"]]["members"] == [
        {"name": "what", "type": "str"},
        {"name": "how-many", "type": "int", "default": None},
        {"name": "kind", "type": "book|box", "default": None},
    ]
    assert schema["book|box"]["values"] == ["book", "box"]
    assert schema[command["arg-type"]]["tag"] == "kind"
    for each, case in zip(schema[command["arg-type"]]["variants"], ("book", "box"), strict=True):
        assert each["case"] == case
        assert schema[each["type"]]["members"] == []
    assert [each["name"] for each in schema[command["ret-type"]]["members"]] == [
        "row-number",
        "note",
    ]
    assert schema["clear"]["allow-oob"] is True
    assert schema[schema["clear"]["ret-type"]]["members"] == []
    assert schema["FULL"]["arg-type"] == "Place"
    assert schema[schema["EMPTY"]["arg-type"]]["members"] == []


def names_of_types(entry: dict[str, Any]) -> list[str]:
    """The types that an entry of a schema speaks of."""
    direct = [entry[key] for key in ("arg-type", "ret-type", "element-type") if key in entry]
    members = entry.get("members", []) if entry["meta-type"] != "enum" else []
    return direct + [member["type"] for member in members]


def test_every_type_that_the_schema_of_machines_names_is_in_it() -> None:
    entries = schema_of(MACHINE, {})
    names = [entry["name"] for entry in entries]
    assert len(names) == len(set(names))
    assert {kind for entry in entries for kind in names_of_types(entry)} <= set(names)


@pytest.mark.parametrize("command", list(MACHINE), ids=lambda command: command.name)
def test_every_command_and_argument_is_explained(command: Any) -> None:
    assert command.summary.endswith(".")
    assert all(parameter.help for parameter in command.parameters)
