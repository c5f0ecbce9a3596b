"""Options that several commands for images have."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from bimetal import images, parse_size
from bimetal.cli.progress import ShownProgress

__all__ = [
    "SIZE",
    "backing_folders",
    "cache_modes",
    "format_option",
    "output_option",
    "progress_option",
    "quiet_option",
    "read_options",
    "share_option",
    "shown_progress",
]

Command = TypeVar("Command", bound=Callable[..., Any])

JSON = click.Choice(["human", "json"])

format_option = click.option("-f", "format", metavar="FORMAT", help="Which format the image has.")

output_option = click.option("--output", type=JSON, default="human", help="How to print it.")

quiet_option = click.option("-q", "quiet", is_flag=True, help="Print nothing but errors.")

progress_option = click.option(
    "-p", "progress", is_flag=True, help="Print the progress to standard output."
)

share_option = click.option(
    "-U",
    "--force-share",
    "shared",
    is_flag=True,
    help="Read the image even if somebody writes it meanwhile.",
)

backing_folders = click.option(
    "--backing-folder",
    "folders",
    multiple=True,
    metavar="FOLDER",
    help="Where backing and data files may lie, besides the folder of the image that names them.",
)


class _Size(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in new click
    """A size in bytes, or like 8G."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """See `click.ParamType.convert`."""
        return parse_size(value)


SIZE = _Size()


def cache_modes(command: Command) -> Command:
    """``-t`` and ``-T``, which choose among ways of caching that are all the same here."""
    for name in ("-t", "-T"):
        command = click.option(name, expose_value=False, hidden=True)(command)
    return command


def read_options(given: tuple[str, ...]) -> dict[str, str]:
    """What ``-o`` says: NAME=VALUE, separated by commas; a comma in a value is written twice."""
    options: dict[str, str] = {}
    for text in given:
        for word in text.replace(",,", "\0").split(","):
            name, equals, value = word.replace("\0", ",").partition("=")
            if name:
                options[name] = value if equals else "on"
    return options


@contextmanager
def shown_progress(what: str, *, printed: bool, quiet: bool) -> Iterator[images.Progress]:
    """What to tell the progress of ``what`` to: standard output if it is to be ``printed``, or a
    terminal at standard error."""
    if printed and not quiet:
        yield _print
        click.echo()
    elif quiet or not sys.stderr.isatty():
        yield lambda done: None
    else:
        with ShownProgress() as view:
            view.step(what)
            yield view.fraction


def _print(done: float) -> None:
    click.echo(f"    ({100 * done:.2f}/100%)\r", nl=False)
