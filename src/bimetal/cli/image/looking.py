"""``bimetal image info``, ``check``, ``compare`` and ``map``."""

from __future__ import annotations

import json

import click

from bimetal import BimetalError, images
from bimetal.cli.image.options import (
    SIZE,
    backing_folders,
    cache_modes,
    format_option,
    output_option,
    progress_option,
    quiet_option,
    share_option,
    shown_progress,
)
from bimetal.cli.image.text import (
    check_text,
    check_words,
    extent_words,
    extents_text,
    information_text,
    information_words,
)
from bimetal.cli.options import OnceEach

__all__ = ["check", "compare", "info", "map_"]

SOUND, FAILED, CORRUPT, LEAKS, UNSUPPORTED = 0, 1, 2, 3, 63
"""Exit codes of ``check``."""

DIFFERENT = 1
"""The exit code of ``compare`` for images that differ."""


@click.command("info", cls=OnceEach)
@format_option
@output_option
@click.option("--backing-chain", "whole", is_flag=True, help="Also those that it lies on.")
@share_option
@backing_folders
@click.argument("path", metavar="FILE")
def info(
    format: str | None,
    output: str,
    whole: bool,
    shared: bool,
    folders: tuple[str, ...],
    path: str,
) -> None:
    """Tell what an image says of itself."""
    if whole:
        found = images.chain(path, format=format, shared=shared, folders=folders)
    else:
        found = [images.information(path, format=format, shared=shared)]
    if output == "json":
        words = [information_words(image) for image in found]
        click.echo(json.dumps(words if whole else words[0], indent=4))
    else:
        click.echo("\n".join(information_text(image) for image in found), nl=False)


@click.command("check", cls=OnceEach)
@format_option
@click.option(
    "-r",
    "repair",
    type=click.Choice(["leaks", "all"]),
    help="Mend clusters that are counted and not used, or also counts and marks that are wrong.",
)
@output_option
@quiet_option
@share_option
@cache_modes
@click.argument("path", metavar="FILE")
def check(
    format: str | None, repair: str | None, output: str, quiet: bool, shared: bool, path: str
) -> int:
    """Look for what is wrong with a qcow2 image.

    Exit codes: 0 nothing, 1 it could not be checked, 2 it is damaged, 3 it only wastes space, 63
    the format has nothing to check.
    """
    try:
        result = images.check(
            path,
            format=format,
            repair="all" if repair == "all" else "leaks" if repair else None,
            shared=shared,
        )
    except BimetalError as error:
        code = UNSUPPORTED if error.exit_code == UNSUPPORTED else FAILED
        raise BimetalError(error.cause, error.remedy, code) from error
    if output == "json":
        click.echo(json.dumps(check_words(result), indent=4))
    elif not quiet:
        for message in result.messages:
            click.echo(message, err=True)
        click.echo(check_text(result))
    if result.findings.corruptions:
        return CORRUPT
    if result.findings.errors:
        return FAILED
    return LEAKS if result.findings.leaks else SOUND


@click.command("compare", cls=OnceEach)
@click.option("-f", "format", metavar="FORMAT", help="Which format the first image has.")
@click.option("-F", "other_format", metavar="FORMAT", help="Which format the second image has.")
@click.option("-s", "strict", is_flag=True, help="Sizes, and what is stored, must be the same too.")
@cache_modes
@progress_option
@quiet_option
@share_option
@backing_folders
@click.argument("first", metavar="FILE")
@click.argument("second", metavar="OTHER")
def compare(
    format: str | None,
    other_format: str | None,
    strict: bool,
    progress: bool,
    quiet: bool,
    shared: bool,
    folders: tuple[str, ...],
    first: str,
    second: str,
) -> int:
    """Tell whether two images show the same.

    What one is longer must be zeroes. Exit codes: 0 the same, 1 not, above that something failed.
    """
    with shown_progress("comparing", printed=progress, quiet=quiet) as told:
        result = images.compare(
            first,
            second,
            first_format=format,
            second_format=other_format,
            strict=strict,
            shared=shared,
            folders=folders,
            progress=told,
        )
    if not quiet:
        _tell(result, strict)
    return 0 if result.identical else DIFFERENT


def _tell(result: images.Comparison, strict: bool) -> None:
    if result.sizes[0] != result.sizes[1] and not strict:
        click.echo("Warning: Image size mismatch!")
    if result.identical:
        click.echo("Images are identical.")
    elif result.allocation:
        click.echo(f"Strict mode: Offset {result.at} allocation mismatch!")
    elif result.at is None:
        click.echo("Strict mode: Image size mismatch!")
    else:
        click.echo(f"Content mismatch at offset {result.at}!")


@click.command("map", cls=OnceEach)
@format_option
@click.option("-s", "--start-offset", "start", type=SIZE, default=0, help="Where to begin.")
@click.option("-l", "--max-length", "length", type=SIZE, help="How much to tell of.")
@output_option
@share_option
@backing_folders
@click.argument("path", metavar="FILE")
def map_(
    format: str | None,
    start: int,
    length: int | None,
    output: str,
    shared: bool,
    folders: tuple[str, ...],
    path: str,
) -> None:
    """Tell which parts of the disk are stored, in which file of its chain and where."""
    found = images.extents(
        path, format=format, start=start, length=length, shared=shared, folders=folders
    )
    if output == "json":
        lines = [json.dumps(extent_words(extent)) for extent in found]
        click.echo("[" + ",\n".join(lines) + "]")
    else:
        click.echo(extents_text(found), nl=False)
