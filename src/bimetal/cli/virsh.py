"""``bimetal-virsh``: the verbs for machines that stay, for scripts that were written for virsh.

Lines and columns are virsh's; an error is a line that begins with ``error:``, and exit code 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from bimetal import BimetalError, ExitCode, __version__
from bimetal.cli.commands import verb_named, verbs
from bimetal.cli.ending import Ending
from bimetal.cli.logs import show_logs
from bimetal.cli.streams import OutputLost, give_up

__all__ = ["program", "run"]

INTERRUPTED = 128 + 2
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
    show_logs()
    try:
        code = program.main(arguments, prog_name="bimetal-virsh", standalone_mode=False, obj=ending)
        return code if isinstance(code, int) else 0
    except OutputLost as lost:
        return give_up(lost)
    except BimetalError as error:
        click.echo(f"error: {error.cause}", err=True)
        if error.remedy:
            click.echo(f"error: {error.remedy}", err=True)
        return ExitCode.FAILURE
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}", err=True)
        return ExitCode.FAILURE
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
