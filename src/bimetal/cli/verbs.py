"""Verbs for machines that stay, as commands of the command line: made of their functions."""

from __future__ import annotations

import typing
from typing import Any, Literal, get_args, get_origin

import click

from bimetal.cli.columns import Shown
from bimetal.cli.options import OnceEach
from bimetal.cli.shown import SHOWN
from bimetal.control.machines import Machines
from bimetal.control.registry import Command, Parameter
from bimetal.control.verbs import HOST, Defined

__all__ = ["command_of"]

DOMAIN = "domain"
"""What virsh has behind a verb without a word before it, even where it may be left out."""


def command_of(name: str) -> click.Command:
    """The command for a verb."""
    verb, shown = HOST[name], SHOWN[name]

    def call(**given: Any) -> None:
        own = {each.name: given[each.name] for each in verb.parameters}
        result = verb.function(Machines(), **own)
        for note in result.notes if isinstance(result, Defined) else ():
            click.echo(f"bimetal: no effect: {note}", err=True)
        like_virsh = click.get_current_context().find_root().params
        quiet = bool(like_virsh.get("quiet"))
        if not (quiet and shown.message):
            text = shown.show(result, {**given, "quiet": quiet})
            click.echo(text, nl=bool(like_virsh) and not quiet)  # virsh leaves a line free

    parameters = [_parameter(each) for each in verb.parameters] + _flags(shown)
    return OnceEach(
        name, callback=call, params=parameters, help=_help(verb), short_help=verb.summary
    )


def _help(verb: Command) -> str:
    lines = [verb.help]
    arguments = [each for each in verb.parameters if each.required]
    if arguments:
        named = [f"{each.external.upper()} is {each.help}." for each in arguments]
        lines += ["", " ".join(named)]
    return "\n".join(lines)


def _flags(shown: Shown) -> list[click.Parameter]:
    return [
        click.Option([name.replace("-", "_"), f"--{name}"], is_flag=True, help=_sentence(text))
        for name, text in shown.flags.items()
    ]


def _parameter(parameter: Parameter) -> click.Parameter:
    kind, name = _plain(parameter.type), parameter.name
    if parameter.required or name == DOMAIN:
        metavar = parameter.external.upper()
        if not parameter.required:
            return click.Argument([name], metavar=f"[{metavar}]", required=False, default="")
        return click.Argument([name], metavar=metavar)
    declared = [name, f"--{parameter.external}"]
    if kind is bool:
        return click.Option(declared, is_flag=True, help=_sentence(parameter.help))
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    return click.Option(
        declared,
        type=click.Choice(choices) if choices else str,
        default=parameter.default,
        show_default=True,
        help=_sentence(parameter.help),
    )


def _plain(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is typing.Annotated else kind


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
