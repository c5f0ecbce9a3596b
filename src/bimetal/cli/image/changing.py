"""``bimetal image resize``, ``snapshot``, ``commit`` and ``rebase``."""

from __future__ import annotations

import click

from bimetal import images
from bimetal.cli.image.options import (
    backing_folders,
    cache_modes,
    format_option,
    progress_option,
    quiet_option,
    share_option,
    shown_progress,
)
from bimetal.cli.image.text import snapshots_text
from bimetal.cli.options import OnceEach

__all__ = ["commit", "rebase", "resize", "snapshot"]


@click.command("resize", cls=OnceEach, context_settings={"ignore_unknown_options": True})
@format_option
@click.option("--shrink", is_flag=True, help="Allow that the end of the disk is lost.")
@click.option(
    "--preallocation",
    type=click.Choice(["off", "metadata", "falloc", "full"]),
    default="off",
    help="What is done for what is new.",
)
@quiet_option
@backing_folders
@click.argument("path", metavar="FILE")
@click.argument("size", metavar="[+|-]SIZE")
def resize(
    format: str | None,
    shrink: bool,
    preallocation: str,
    quiet: bool,
    folders: tuple[str, ...],
    path: str,
    size: str,
) -> None:
    """Make the disk in an image longer or shorter. What is new reads as zeroes."""
    images.resize(
        path,
        size,
        format=format,
        shrinking=shrink,
        preallocation=preallocation,
        folders=folders,
    )
    if not quiet:
        click.echo("Image resized.")


@click.command("snapshot", cls=OnceEach)
@format_option
@click.option("-l", "listed", is_flag=True, help="List the snapshots, as without any option.")
@click.option("-c", "created", metavar="NAME", help="Keep the disk as it is under that name.")
@click.option("-a", "applied", metavar="SNAPSHOT", help="Make the disk what it was then.")
@click.option("-d", "deleted", metavar="SNAPSHOT", help="Forget the snapshot.")
@quiet_option
@share_option
@backing_folders
@click.argument("path", metavar="FILE")
def snapshot(
    format: str | None,
    listed: bool,
    created: str | None,
    applied: str | None,
    deleted: str | None,
    quiet: bool,
    shared: bool,
    folders: tuple[str, ...],
    path: str,
) -> None:
    """Keep the state of the disk inside a qcow2 image, and go back to it.

    SNAPSHOT is the identity or the name of one.
    """
    asked = [listed, created is not None, applied is not None, deleted is not None]
    if sum(asked) > 1:
        raise click.UsageError("give one of -l, -c, -a and -d")
    if created is not None:
        images.create_snapshot(path, created, format=format, folders=folders)
    elif applied is not None:
        images.apply_snapshot(path, applied, format=format, folders=folders)
    elif deleted is not None:
        images.delete_snapshot(path, deleted, format=format, folders=folders)
    else:
        found = images.snapshots(path, format=format, shared=shared, folders=folders)
        if found and not quiet:
            click.echo(snapshots_text(found), nl=False)


@click.command("commit", cls=OnceEach)
@format_option
@click.option("-b", "base", metavar="FILE", help="The image of the chain to write to; implies -d.")
@click.option("-d", "keep", is_flag=True, help="Do not empty FILE after that.")
@click.option("-r", expose_value=False, hidden=True)
@cache_modes
@progress_option
@quiet_option
@backing_folders
@click.argument("path", metavar="FILE")
def commit(
    format: str | None,
    base: str | None,
    keep: bool,
    progress: bool,
    quiet: bool,
    folders: tuple[str, ...],
    path: str,
) -> None:
    """Write what FILE has to the image that it lies on."""
    with shown_progress(f"committing {path}", printed=progress, quiet=quiet) as told:
        images.commit(path, format=format, base=base, keep=keep, folders=folders, progress=told)
    if not quiet:
        click.echo("Image committed.")


@click.command("rebase", cls=OnceEach)
@format_option
@click.option(
    "-b", "backing", required=True, metavar="FILE", help="What to lie on; '' for nothing."
)
@click.option("-F", "backing_format", metavar="FORMAT", help="Which format that has.")
@click.option("-u", "unsafe", is_flag=True, help="Change the name only; what is shown may change.")
@cache_modes
@progress_option
@quiet_option
@share_option
@backing_folders
@click.argument("path", metavar="FILE")
def rebase(
    format: str | None,
    backing: str,
    backing_format: str | None,
    unsafe: bool,
    progress: bool,
    quiet: bool,
    shared: bool,
    folders: tuple[str, ...],
    path: str,
) -> None:
    """Lay FILE on another image. Its disk shows the same: what differs is copied to it first."""
    with shown_progress(f"rebasing {path}", printed=progress, quiet=quiet) as told:
        images.rebase(
            path,
            backing or None,
            format=format,
            backing_format=backing_format if backing else None,
            unsafe=unsafe,
            folders=folders,
            progress=told,
        )
