"""Command lines are run: errors become messages and exit codes, as each program tells them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from bimetal import BimetalError
from bimetal.cli.ending import Ending
from bimetal.cli.logs import show_logs
from bimetal.cli.streams import OutputLost, give_up

__all__ = ["Told", "run_line"]

INTERRUPTED = 128 + 2
"""What a shell reports for a program that SIGINT ended."""

Told = Callable[[BimetalError | click.ClickException], int]
"""Prints an error; the exit code that it leads to."""


def run_line(
    program: click.Command,
    name: str,
    arguments: Sequence[str] | None,
    ending: Ending,
    told: Told,
) -> int:
    """Run the command line of the ``program`` called ``name``; the process's exit code."""
    show_logs()
    try:
        code = program.main(arguments, prog_name=name, standalone_mode=False, obj=ending)
        return code if isinstance(code, int) else 0
    except OutputLost as lost:
        return give_up(lost)
    except (BimetalError, click.ClickException) as error:
        return told(error)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
