"""The part ``public`` of the bench, from its settings to the lines of its report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from bench.public import outcome, root, table
from bench.public.rounds import Settings, rounds
from bench.targets import Target

__all__ = ["report"]


def report(target: Target, count: int, options: Sequence[str], settings: Settings) -> Iterator[str]:
    """Run the programs that are wanted in so many rounds; yield the lines of the report.

    Raises click.ClickException at the end if a program failed or had another result.
    """
    if lacking := root.lacking():
        yield f"public is left out: to make its disk this host lacks {lacking}"
        return
    image = root.root_image(target.name, table.packaged(target.name).values())
    programs = table.choose(target.name, settings.only, long=settings.long)
    if not programs:
        yield f"public is left out: {target.name} has none of these programs in this form"
        return
    found = outcome.compare(rounds(target, programs, image, settings, count, options), [*programs])
    yield outcome.header(settings.stores)
    yield from outcome.report(found, programs, settings.stores)
    if found.faults:
        raise click.ClickException(f"{len(found.faults)} of the programs' runs are wrong")
