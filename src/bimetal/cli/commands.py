"""The table of commands: names and summaries here, modules when they are called."""

from __future__ import annotations

from importlib import import_module

import click

__all__ = ["CommandTable"]

SUMMARIES = {
    "run": "Boot a guest of the catalogue, or a kernel, firmware or program of your own.",
    "guests": "List the guests of the catalogue.",
    "fetch": "Fetch guests of the catalogue without booting them.",
    "cache": "Show the compiled code that is kept between runs, or make it smaller.",
    "dis": "Disassemble a file or a few bytes.",
    "kvm-ok": "Find out whether KVM works on this host, by using it.",
    "doctor": "Look at this host: what works, what is missing, what to do.",
}


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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The summaries, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))
