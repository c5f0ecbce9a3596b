"""The command line as a whole: errors become messages and exit codes here."""

from __future__ import annotations

from collections.abc import Sequence

import click

from bimetal import BimetalError, ExitCode, __version__
from bimetal.cli.commands import CommandTable
from bimetal.cli.ending import Ending
from bimetal.cli.logs import show_logs
from bimetal.cli.streams import OutputLost, give_up

__all__ = ["program", "run"]

INTERRUPTED = 128 + 2
"""What a shell reports for a program that SIGINT ended."""


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
    show_logs()
    try:
        code = program.main(arguments, prog_name="bimetal", standalone_mode=False, obj=ending)
        return code if isinstance(code, int) else 0
    except OutputLost as lost:
        return give_up(lost)
    except BimetalError as error:
        click.echo(f"bimetal: {error.cause}", err=True)
        if error.remedy:
            click.echo(f"         {error.remedy}", err=True)
        return error.exit_code
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "bimetal"
        click.echo(f"bimetal: {error.format_message()}", err=True)
        click.echo(f"         '{where} --help' tells what there is", err=True)
        return ExitCode.USAGE
    except click.ClickException as error:
        click.echo(f"bimetal: {error.format_message()}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
