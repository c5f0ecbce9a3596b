"""The command line as a whole: errors become messages and exit codes here."""

from __future__ import annotations

from collections.abc import Sequence

import click

from bimetal import BimetalError, ExitCode, __version__
from bimetal.cli.commands import CommandTable
from bimetal.cli.ending import Ending
from bimetal.cli.running import run_line

__all__ = ["program", "run"]


@click.command(
    cls=CommandTable,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="bimetal %(version)s")
def program() -> None:
    """Virtual machines in Python: any guest on any host, at native speed through LLVM.

    Start with 'bimetal run debian-riscv64': it fetches a small Debian and boots it.
    """


def run(arguments: Sequence[str] | None, ending: Ending) -> int:
    """Run the command line; the process's exit code."""
    return run_line(program, "bimetal", arguments, ending, _told)


def _told(error: BimetalError | click.ClickException) -> int:
    """Print an error; the exit code for it."""
    if isinstance(error, BimetalError):
        cause, remedy, code = error.cause, error.remedy, error.exit_code
    elif isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx else "bimetal"
        cause, remedy = error.format_message(), f"'{where} --help' tells what there is"
        code = ExitCode.USAGE
    else:
        cause, remedy, code = error.format_message(), "", error.exit_code
    click.echo(f"bimetal: {cause}", err=True)
    if remedy:
        click.echo(f"         {remedy}", err=True)
    return code
