"""What ``bimetal run`` tells about a run at its end: what it cost, and where the guest was."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import wraps
from typing import Any, TextIO, TypeVar

import click
from msgspec import Struct
from msgspec.structs import replace

from bimetal import BimetalError, Machine, Result, TimedOut
from bimetal.cli.ending import Ending, is_of_signal
from bimetal.cli.outputs import unwritable

__all__ = ["Report", "report_options"]

Answer = TypeVar("Answer")

STDERR = "-"
ROWS = 40
"""Rows of a profile on the terminal; a file gets all of them."""


class Report(Struct, frozen=True):
    """What was asked for: ``stats``, and a ``profile`` in that file (`STDERR`), with names from
    the files ``symbols``."""

    stats: bool = False
    profile: str | None = None
    symbols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.symbols and self.profile is None:
            raise click.UsageError("--symbols are names for a profile: add --profile FILE")

    def play(
        self,
        machine: Machine,
        ending: Ending,
        announce: Callable[[], None],
        meanwhile: AbstractContextManager[object],
    ) -> Result:
        """Run ``machine`` from power on to the end, which may be one by a signal, and tell:
        ``announce`` is called before it starts, ``meanwhile`` is entered while it runs. Raises
        `BimetalError`."""
        with self._opened() as out:
            if out:
                machine.start_profile(self.symbols)
            announce()
            with ending.held():
                machine.start()
            try:
                with meanwhile:
                    result = machine.wait()
            except BaseException as error:
                if is_of_signal(error):
                    ending.begin()
                    with suppress(TimedOut):
                        machine.stop()
                    self._tell(machine, out)
                raise
            lost = self._tell(machine, out)
        return replace(result, code=result.code or lost)

    def _tell(self, machine: Machine, out: TextIO | None) -> int:
        """Tell what was asked for. What becomes of it changes a run's exit code from 0 only: to
        this one."""
        if self.stats:
            click.echo(machine.stats(), err=True)
        if out is None:
            return 0
        limit = ROWS if out is sys.stderr else None
        try:
            print(machine.profile().table(limit), file=out, flush=True)
        except OSError as error:
            lost = self._unwritable(error)
            click.echo(f"bimetal: {lost.cause}", err=True)
            return lost.exit_code
        return 0

    def _unwritable(self, error: OSError) -> BimetalError:
        return unwritable(f"the profile {self.profile}", error, "'-' for the terminal")

    @contextmanager
    def _opened(self) -> Iterator[TextIO | None]:
        """The profile's file, opened before the run: after it, an error would cost the run."""
        if self.profile in (None, STDERR):
            yield None if self.profile is None else sys.stderr
            return
        try:
            file = open(str(self.profile), "w")  # noqa: SIM115
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            yield file
        finally:
            with suppress(OSError):  # what waits still was told of
                file.close()


def report_options(command: Callable[..., Answer]) -> Callable[..., Answer]:
    """Options --stats, --profile and --symbols: ``command`` has them as ``report``."""

    @click.option("--stats", is_flag=True, help="Say at the end what the run cost.")
    @click.option(
        "--profile", metavar="FILE", help="Tell where the guest was, by function; '-': here."
    )
    @click.option(
        "--symbols",
        multiple=True,
        metavar="FILE",
        help="Names for the profile: ELF, or like System.map; may be repeated.",
    )
    @wraps(command)
    def gathered(
        stats: bool, profile: str | None, symbols: tuple[str, ...], **others: Any
    ) -> Answer:
        return command(report=Report(stats, profile, symbols), **others)

    return gathered
