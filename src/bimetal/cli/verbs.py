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
from bimetal.control.verbs.registry import IN_ORDER, REST

__all__ = ["command_of"]

WITHOUT_NAMES = ("domain", "pool", "source")
"""What virsh takes without a word before it, even where it may be left out."""

WORDS = "words"


def command_of(name: str) -> click.Command:
    """The command for a verb. As with virsh, what it needs may stand in its order, or behind its
    name: ``start crab``, ``start --domain crab``."""
    verb, shown = HOST[name], SHOWN[name]

    def call(words: tuple[str, ...], **given: Any) -> None:
        own = _own(verb, given, [*words])
        result = verb.function(Machines(), **own)
        for note in result.notes if isinstance(result, Defined) else ():
            click.echo(f"bimetal: no effect: {note}", err=True)
        like_virsh = click.get_current_context().find_root().params
        quiet = bool(like_virsh.get("quiet"))
        if not (quiet and shown.message):
            text = shown.show(result, {**given, **own, "quiet": quiet})
            click.echo(text, nl=bool(like_virsh) and not quiet)  # virsh leaves a line free

    parameters: list[click.Parameter] = [_option(each) for each in verb.parameters]
    parameters += _flags(shown)
    parameters.append(click.Argument([WORDS], nargs=-1, metavar=_usage(verb), required=False))
    return OnceEach(
        name, callback=call, params=parameters, help=_help(verb), short_help=verb.summary
    )


def _own(verb: Command, given: dict[str, Any], words: list[str]) -> dict[str, Any]:
    """The arguments of a verb: those ``given`` by their names, and ``words`` for the others, in
    their order. Raises `click.UsageError`."""
    own = {}
    for each in verb.parameters:
        value = given[each.name]
        if value is None and words and _in_order(each):
            value = " ".join(words) if REST in _marks(each) else words[0]
            words = [] if REST in _marks(each) else words[1:]
        if value is None and each.required:
            raise click.UsageError(f"command '{verb.name}' requires <{each.external}> option")
        own[each.name] = each.default if value in (None, ()) else value
    if words:
        raise click.UsageError(f"unexpected data '{words[0][:80]}'")
    return own


def _in_order(parameter: Parameter) -> bool:
    """Whether it may stand without its name."""
    known = parameter.name in WITHOUT_NAMES or IN_ORDER in _marks(parameter)
    return parameter.required or known


def _usage(verb: Command) -> str:
    """What stands behind a verb."""
    needed = [each.external.upper() for each in verb.parameters if each.required]
    more = [
        f"[{each.external.upper()}]"
        for each in verb.parameters
        if not each.required and _in_order(each)
    ]
    return " ".join(needed + more)


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


def _option(parameter: Parameter) -> click.Option:
    kind, declared = _plain(parameter.type), [parameter.name, f"--{parameter.external}"]
    if kind is bool:
        return click.Option(declared, is_flag=True, help=_sentence(parameter.help))
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    usual = parameter.default if not parameter.required and parameter.default else False
    several = get_origin(kind) is tuple
    return click.Option(
        declared,
        type=click.Choice(choices) if choices else int if kind is int else str,
        multiple=several,
        default=None,
        show_default=str(usual) if usual else False,
        help=_sentence(parameter.help),
        hidden=parameter.required,
    )


def _marks(parameter: Parameter) -> tuple[Any, ...]:
    """What its type says besides what it is."""
    return getattr(parameter.type, "__metadata__", ())


def _plain(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is typing.Annotated else kind


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
