"""The reference page of a registry: every command, what it takes, and what it returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_type_hints

import msgspec

from bimetal.control.registry import Command, Registry
from bimetal.control.schema import Entry, schema_of

__all__ = ["reference"]

Events = Mapping[str, type[msgspec.Struct] | None]


def reference(registry: Registry[Any], events: Events, introduction: str) -> str:
    """The page, in Markdown."""
    schema = {entry["name"]: entry for entry in schema_of(registry, events)}
    lines = [introduction, "", "## Commands"]
    for command in registry:
        lines += _command(command, schema)
    lines += ["", "## Events", "", "| event | what it carries |", "|---|---|"]
    for name in events:
        lines.append(f"| `{name}` | {_named(schema[name]['arg-type'], schema)} |")
    lines += ["", "## Types"]
    for kind in _structures(registry, events):
        lines += _structure(kind, schema)
    return "\n".join(lines).replace("``", "`") + "\n"


def _command(command: Command, schema: Mapping[str, Entry]) -> Iterator[str]:
    entry = schema[command.name]
    yield from ["", f"### {command.name}", "", " ".join(command.help.split())]
    members = {each["name"]: each for each in schema[entry["arg-type"]]["members"]}
    if members:
        yield from ["", "| argument | type | meaning |", "|---|---|---|"]
    for parameter in command.parameters:
        kind = _named(members[parameter.external]["type"], schema)
        kind += "" if parameter.required else ", may be left out"
        yield f"| `{parameter.external}` | {kind} | {parameter.help} |"
    returned = _named(entry["ret-type"], schema)
    notes = [f"Returns {returned}."] * (returned != "nothing")
    notes += ["May be sent out of band."] * command.out_of_band
    if notes:
        yield from ["", " ".join(notes)]


def _structure(kind: type[Any], schema: Mapping[str, Entry]) -> Iterator[str]:
    members = {each["name"]: each for each in schema[kind.__name__]["members"]}
    yield from ["", f"### {kind.__name__}", "", " ".join((kind.__doc__ or "").split()), ""]
    yield from ["| field | type | meaning |", "|---|---|---|"]
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        member = members[field.encode_name]
        texts = getattr(hints[field.name], "__metadata__", ())
        named = _named(member["type"], schema) + ", may be missing" * ("default" in member)
        yield f"| `{field.encode_name}` | {named} | {' '.join(map(str, texts))} |"


def _structures(registry: Iterable[Command], events: Events) -> list[type[Any]]:
    """The structures that commands return and events carry, by name, each once."""
    found: dict[str, type[Any]] = {}
    todo: list[Any] = [command.result for command in registry] + [*events.values()]
    while todo:
        info = msgspec.inspect.type_info(todo.pop())
        for struct in _structs_in(info):
            if struct.__name__ not in found:
                found[struct.__name__] = struct
                todo += list(get_type_hints(struct, include_extras=True).values())
    return [found[name] for name in sorted(found)]


def _structs_in(info: msgspec.inspect.Type) -> Iterator[type[Any]]:
    match info:
        case msgspec.inspect.StructType(cls=cls):
            yield cls
        case msgspec.inspect.Metadata(type=inner):
            yield from _structs_in(inner)
        case msgspec.inspect.ListType(item_type=item):
            yield from _structs_in(item)
        case msgspec.inspect.UnionType(types=types):
            for each in types:
                yield from _structs_in(each)


def _named(name: str, schema: Mapping[str, Entry]) -> str:
    """A type as the page shows it."""
    entry = schema.get(name, {})
    match entry.get("meta-type"):
        case "array":
            return f"list of {_named(entry['element-type'], schema)}"
        case "enum":
            return ", ".join(f"`{value}`" for value in entry["values"])
        case "object" if not entry["members"]:
            return "nothing"
        case "object":
            return f"[{name}](#{name.lower()})"
        case "alternate":
            return " or ".join(_named(each["type"], schema) for each in entry["members"])
    return {"any": "any value", "int": "integer", "str": "string"}.get(name, name)
