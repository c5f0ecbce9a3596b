"""The table of commands: names and summaries here, modules when they are called."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import click

__all__ = ["CommandTable"]

SUMMARIES = {
    "run": "Boot a guest of the catalogue, or a kernel, firmware or program of your own.",
    "guests": "List the guests of the catalogue.",
    "fetch": "Fetch guests of the catalogue without booting them.",
    "image": "Make, look at, check, convert and change disk images.",
    "cache": "Show the compiled code that is kept between runs, or make it smaller.",
    "dis": "Disassemble a file or a few bytes.",
    "kvm-ok": "Find out whether KVM works on this host, by using it.",
    "doctor": "Look at this host: what works, what is missing, what to do.",
}


def _meant(name: str) -> str:
    """What to type instead: a command, or a guest's or a file's name behind one."""
    if name in import_module("bimetal").GUESTS:
        return f": to boot that guest, 'bimetal run {name}'"
    if Path(name).is_file():
        return f": to boot that file, 'bimetal run --kernel {name}'"
    near = get_close_matches(name, SUMMARIES, n=1)
    return f": did you mean {near[0]}?" if near else ""


class CommandTable(click.Group):
    """A group whose commands live in modules of their own, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help."""
        return list(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command."""
        if cmd_name not in SUMMARIES:
            return None
        command = import_module(f"bimetal.cli.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """For an unknown command, suggest similar names."""
        name = args[0]
        if name not in SUMMARIES and not name.startswith("-"):
            raise click.UsageError(f"No such command {name!r}{_meant(name)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The summaries, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))
