"""The description of the routes (OpenAPI 3.1), made from what verbs and commands say of
themselves."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import msgspec

from bimetal.control.commands import MACHINE
from bimetal.control.registry import Command, Parameter
from bimetal.control.verbs import HOST
from bimetal.web.api import COMMAND_PATH, DOMAIN, path_of
from bimetal.web.documents import is_document
from bimetal.web.problems import PROBLEM_TYPE

__all__ = ["describe"]

Entry = dict[str, Any]

JSON = "application/json"
COMMANDS, VERBS = TAGS = {
    "commands": "What a machine that runs carries out (QMP).",
    "verbs": "What is done with machines that stay.",
}


class Problem(msgspec.Struct):
    """What is wrong (RFC 9457): ``title``, and ``detail``, which says what to do."""

    status: int
    title: str
    detail: str


def describe() -> Entry:
    """The document."""
    document = Document()
    for verb in HOST:
        document.add(VERBS, path_of(verb), verb)
    for command in MACHINE:
        document.add(COMMANDS, COMMAND_PATH.replace("{command}", command.name), command)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bimetal",
            "version": version("bimetal"),
            "description": "Machines that stay: virsh's words, and the commands of QMP.",
        },
        "security": [{"token": []}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": document.paths,
        "components": {
            "schemas": document.components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


class Document:
    """Paths and the types that they refer to, which grow."""

    def __init__(self) -> None:
        self.paths: dict[str, Entry] = {}
        self.components: dict[str, Entry] = {}

    def add(self, tag: str, path: str, command: Command) -> None:
        """A command at a path, in which its machine is named if it has one there."""
        entry: Entry = {
            "operationId": f"{tag}.{command.name}",
            "tags": [tag],
            "summary": command.summary,
            "description": " ".join(command.help.split()),
            "responses": {
                "200": _content("What it returns.", JSON, self._schema(command.result)),
                "default": _content("Why it is not done.", PROBLEM_TYPE, self._schema(Problem)),
            },
        }
        parameters = [_in_path()] if f"{{{DOMAIN}}}" in path else []
        arguments = [
            each for each in command.parameters if not (parameters and each.name == DOMAIN)
        ]
        if command.safe:
            parameters += [self._in_query(each) for each in arguments]
        elif arguments:
            entry["requestBody"] = self._body(arguments)
        if parameters:
            entry["parameters"] = parameters
        self.paths[path] = {"get" if command.safe else "post": entry}

    def _in_query(self, argument: Parameter) -> Entry:
        return {
            "name": argument.external,
            "in": "query",
            "required": argument.required,
            "description": argument.help,
            "schema": self._argument(argument),
        }

    def _body(self, arguments: list[Parameter]) -> Entry:
        schema = {
            "type": "object",
            "properties": {each.external: self._argument(each) for each in arguments},
            "required": [each.external for each in arguments if each.required],
            "additionalProperties": False,
        }
        return {"required": bool(schema["required"]), "content": {JSON: {"schema": schema}}}

    def _argument(self, argument: Parameter) -> Entry:
        text = "the text itself, not a path" if is_document(argument) else argument.help
        schema = {**self._schema(argument.type), "description": text}
        if not argument.required:
            schema["default"] = msgspec.to_builtins(argument.default)
        return schema

    def _schema(self, kind: Any) -> Entry:
        """The schema of a type, whose parts are among the components."""
        (schema,), parts = msgspec.json.schema_components(
            [kind], ref_template="#/components/schemas/{name}"
        )
        self.components |= parts
        return schema


def _in_path() -> Entry:
    (argument,) = (each for each in HOST["start"].parameters if each.name == DOMAIN)
    schema = {"type": "string"}
    described = {"name": DOMAIN, "in": "path", "required": True, "schema": schema}
    return {**described, "description": argument.help}


def _content(text: str, kind: str, schema: Entry) -> Entry:
    return {"description": text, "content": {kind: {"schema": schema}}}
