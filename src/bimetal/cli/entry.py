"""Where the program begins and ends: errors become messages and exit codes here."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from bimetal import BimetalError, ExitCode, __version__
from bimetal.cli.commands import CommandTable

__all__ = ["main", "program"]

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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = program.main(arguments, prog_name="bimetal", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
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
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not complain of it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILURE
