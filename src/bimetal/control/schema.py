"""The schema of a registry in the form of QMP's introspection (QEMU's qapi/introspect.json).

Clients find a command's or an event's entry by its name, and from there the types of arguments and
results by theirs. Which names types have is not part of the promise, there or here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from bimetal.control.contract import arguments_type
from bimetal.control.registry import Command

__all__ = ["schema_of"]

Entry = dict[str, Any]

EMPTY = "q_empty"
ANY = "any"

BUILTINS: Mapping[type[inspect.Type], tuple[str, str]] = {
    inspect.StrType: ("str", "string"),
    inspect.IntType: ("int", "int"),
    inspect.FloatType: ("number", "number"),
    inspect.BoolType: ("bool", "boolean"),
    inspect.NoneType: ("null", "null"),
}
"""The name of each builtin type, and what it is in JSON."""


class Schema:
    """Entries by name, which grow as types are met."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def add_command(self, command: Command) -> None:
        """The entries of a command and of all its types."""
        result = command.result
        self._put(
            command.name,
            "command",
            {
                "arg-type": self._arguments(command),
                "ret-type": EMPTY if result in (None, type(None)) else self._type(_info(result)),
                "allow-oob": command.out_of_band,
                **({"features": list(command.features)} if command.features else {}),
            },
        )
        if self.entries[command.name]["ret-type"] == EMPTY:
            self._object(EMPTY, ())

    def add_event(self, name: str, data: type[msgspec.Struct] | None) -> None:
        """The entries of an event, which carries ``data``."""
        carried = EMPTY if data is None else self._type(_info(data))
        if carried == EMPTY:
            self._object(EMPTY, ())
        self._put(name, "event", {"arg-type": carried})

    def _arguments(self, command: Command) -> str:
        fields = _info(arguments_type(command)).fields
        name = f"q_obj_{command.name}-arg" if fields else EMPTY
        self._object(name, fields)
        if command.kinds:
            self._tell_kinds(self.entries[name], command.kinds)
        return name

    def _tell_kinds(self, entry: Entry, tag: str) -> None:
        """Note in the entry of an object that each value of the member ``tag`` is a kind of it. No
        kind has members of its own: what may be said of one kind alone is optional."""
        kind = next(each["type"] for each in entry["members"] if each["name"] == tag)
        self._object(EMPTY, ())
        values = self.entries[kind]["values"]
        entry |= {"tag": tag, "variants": [{"case": each, "type": EMPTY} for each in values]}

    def _object(self, name: str, fields: Iterable[inspect.Field]) -> None:
        if name in self.entries:
            return
        members: list[Entry] = []
        self._put(name, "object", {"members": members})
        for field in fields:
            member: Entry = {"name": field.encode_name, "type": self._type(field.type)}
            if not field.required:
                member["default"] = None
            members.append(member)

    def _type(self, info: inspect.Type) -> str:
        """The name of a type, whose entry is made."""
        match info:
            case inspect.Metadata(type=inner):
                return self._type(inner)
            case inspect.StructType(cls=cls, fields=fields):
                self._object(cls.__name__, fields)
                return cls.__name__
            case inspect.EnumType(cls=cls):
                return self._enum(cls.__name__, [str(each.value) for each in cls])
            case inspect.LiteralType(values=values):
                return self._enum("|".join(map(str, values)), [str(each) for each in values])
            case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
                element = self._type(item)
                self._put(f"[{element}]", "array", {"element-type": element})
                return f"[{element}]"
            case inspect.UnionType(types=types):
                return self._union(types)
        name, kind = BUILTINS.get(type(info), (ANY, "value"))
        self._put(name, "builtin", {"json-type": kind})
        return name

    def _union(self, types: Iterable[inspect.Type]) -> str:
        """One of several types, of which None, and what is unset, only says that it may be left
        out."""
        nothing = inspect.NoneType | inspect.CustomType
        names = [self._type(each) for each in types if not isinstance(each, nothing)]
        if len(names) == 1:
            return names[0]
        name = "|".join(names)
        self._put(name, "alternate", {"members": [{"type": each} for each in names]})
        return name

    def _enum(self, name: str, values: list[str]) -> str:
        members = [{"name": each} for each in values]
        self._put(name, "enum", {"members": members, "values": values})
        return name

    def _put(self, name: str, kind: str, details: Entry) -> None:
        self.entries.setdefault(name, {"name": name, "meta-type": kind, **details})


def schema_of(
    commands: Iterable[Command], events: Mapping[str, type[msgspec.Struct] | None]
) -> list[Entry]:
    """The schema of ``commands`` and of ``events``, by name with what they carry."""
    schema = Schema()
    for command in commands:
        schema.add_command(command)
    for name, data in events.items():
        schema.add_event(name, data)
    return list(schema.entries.values())


def _info(kind: Any) -> Any:
    return inspect.type_info(kind)
