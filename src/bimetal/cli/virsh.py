"""``bimetal-virsh``: the verbs for machines that stay, for scripts that were written for virsh.

Lines and columns are virsh's; an error is a line that begins with ``error:``, and exit code 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from bimetal import BimetalError, ExitCode, __version__
from bimetal.cli.commands import verb_named, verbs
from bimetal.cli.ending import Ending
from bimetal.cli.running import run_line

__all__ = ["program", "run"]

HERE = ("", "qemu:///session", "qemu:///system", "bimetal:///")
"""What a script may say of where the machines are: there is nothing but this user's."""


class Verbs(click.Group):
    """The verbs, imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names."""
        return sorted(verbs())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command for a verb."""
        return verb_named(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Say in virsh's words that there is no such verb."""
        if not args[0].startswith("-") and args[0] not in verbs():
            raise click.UsageError(f"unknown command: '{args[0][:80]}'", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The summaries, without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(verbs().items()))


@click.command(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "-c",
    "--connect",
    default="",
    metavar="URI",
    help="Accepted if it says this host: the machines are this user's.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print data only: no messages, no heads.")
@click.version_option(__version__, "-v", "--version", message="%(version)s")
def program(connect: str, quiet: bool) -> None:
    """Machines that stay, in virsh's words."""
    if connect not in HERE:
        raise click.UsageError(f"failed to connect to {connect!r}: machines here are this user's")


def run(arguments: Sequence[str] | None, ending: Ending) -> int:
    """Run the command line; the process's exit code."""
    return run_line(program, "bimetal-virsh", arguments, ending, _told)


def _told(error: BimetalError | click.ClickException) -> int:
    """Print an error as virsh does; its exit code for all of them."""
    lines = [error.cause, error.remedy] if isinstance(error, BimetalError) else [
        error.format_message()
    ]  # fmt: skip
    for line in filter(None, lines):
        click.echo(f"error: {line}", err=True)
    return ExitCode.FAILURE
