"""What the annotations of a command mean for data from outside: checked arguments, plain results.

Types are those of msgspec, which checks them strictly, in C: a text is no number. Arguments that a
command does not declare are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, get_args, get_origin

import msgspec

from bimetal.base.errors import ExitCode
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.registry import Command, Parameter

__all__ = ["Answer", "arguments_type", "plain", "read_arguments"]


class Answer(msgspec.Struct, rename="kebab"):
    """What a command returns: fields, whose outside names have hyphens for underscores. A field
    that is `msgspec.UNSET` is left out."""


@cache
def arguments_type(command: Command) -> type[msgspec.Struct]:
    """The structure of a command's arguments."""
    return msgspec.defstruct(
        f"{command.name} arguments",
        [_field(parameter) for parameter in command.parameters],
        rename={each.name: each.external for each in command.parameters},
        forbid_unknown_fields=True,
        kw_only=True,
    )


def read_arguments(
    command: Command, given: Mapping[str, Any], *, strict: bool = True
) -> dict[str, Any]:
    """The arguments ``given`` by their outside names, as the command's function takes them. Unless
    this is ``strict``, a text may say a number or a truth. Raises `CommandFailed` for those that it
    cannot take."""
    if _has_nul(given):
        raise CommandFailed(
            ErrorClass.GENERIC,
            f"arguments of {command.name}: there is a NUL character",
            "no path and no name has one",
            ExitCode.USAGE,
        )
    try:
        read = msgspec.convert(given, arguments_type(command), strict=strict)
    except msgspec.ValidationError as error:
        raise CommandFailed(
            ErrorClass.GENERIC,
            f"arguments of {command.name}: {error}",
            exit_code=ExitCode.USAGE,
        ) from error
    return {each.name: getattr(read, each.name) for each in command.parameters}


def plain(value: Any) -> Any:
    """A result as JSON has it."""
    return msgspec.to_builtins(value)


def _has_nul(value: Any) -> bool:
    """Whether there is a NUL character in a text, which the host would refuse in a path."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(map(_has_nul, (*value.keys(), *value.values())))
    return isinstance(value, list) and any(map(_has_nul, value))


def _field(parameter: Parameter) -> tuple[str, Any] | tuple[str, Any, Any]:
    kind = _described(parameter.type)
    return (parameter.name, kind) if parameter.required else (
        parameter.name, kind, parameter.default
    )  # fmt: skip


def _described(hint: Any) -> Any:
    """An `Annotated` type with its texts as msgspec wants them."""
    if get_origin(hint) is not Annotated:
        return hint
    kind, *others = get_args(hint)
    texts = " ".join(each for each in others if isinstance(each, str))
    kept = [each for each in others if not isinstance(each, str)]
    metas = [*kept, msgspec.Meta(description=texts)] if texts else kept
    for meta in metas:
        kind = Annotated[kind, meta]
    return kind
