"""``bimetal image create``, ``convert`` and ``measure``."""

from __future__ import annotations

import json

import click

from bimetal import images
from bimetal.cli.image.options import (
    SIZE,
    backing_folders,
    cache_modes,
    format_option,
    output_option,
    progress_option,
    quiet_option,
    read_options,
    share_option,
    shown_progress,
)
from bimetal.cli.options import OnceEach

__all__ = ["convert", "create", "measure"]

OPTIONS = (
    "Options of the new image, NAME=VALUE,...: size, preallocation=off|metadata|falloc|full, and "
    "of qcow2 compat, cluster_size, refcount_bits, lazy_refcounts, extended_l2, "
    "compression_type=zlib|zstd, backing_file, backing_fmt, data_file, data_file_raw."
)


@click.command("create", cls=OnceEach)
@click.option("-f", "format", default="raw", metavar="FORMAT", help="raw (the default) or qcow2.")
@click.option("-b", "backing", metavar="FILE", help="What the disk shows where it is not written.")
@click.option("-F", "backing_format", metavar="FORMAT", help="Which format the backing file has.")
@click.option("-u", "unsafe", is_flag=True, help="Do not look at the backing file.")
@click.option("-o", "options", multiple=True, metavar="OPTIONS", help=OPTIONS)
@quiet_option
@backing_folders
@click.argument("path", metavar="FILE")
@click.argument("size", required=False, metavar="[SIZE]")
def create(
    format: str,
    backing: str | None,
    backing_format: str | None,
    unsafe: bool,
    options: tuple[str, ...],
    quiet: bool,
    folders: tuple[str, ...],
    path: str,
    size: str | None,
) -> None:
    """Make an empty image of SIZE bytes; K, M, G and T are understood.

    With a backing file, the size may be left out: it is that of the backing file. A file that is
    there is replaced, unless it is in use.
    """
    images.create(
        path,
        size,
        format=format,
        backing=backing,
        backing_format=backing_format,
        unsafe=unsafe,
        folders=folders,
        **read_options(options),
    )
    if not quiet:
        length = images.information(path, format=format).size
        click.echo(f"Formatting {path!r}, fmt={format} size={length}")


@click.command("convert", cls=OnceEach)
@click.option("-f", "format", metavar="FORMAT", help="Which format the images have.")
@click.option(
    "-O", "target_format", default="raw", metavar="FORMAT", help="raw (the default) or qcow2."
)
@click.option("-c", "compress", is_flag=True, help="Compress clusters of qcow2.")
@click.option("-l", "snapshot", metavar="SNAPSHOT", help="Convert the disk that a snapshot has.")
@click.option("-B", "-b", "backing", metavar="FILE", help="Store only what that does not show.")
@click.option("-F", "backing_format", metavar="FORMAT", help="Which format the backing file has.")
@click.option("-n", "into", is_flag=True, help="Write to an image that is there.")
@click.option(
    "-S", "sparse", type=SIZE, default=4096, help="So many zeroes become a hole; 0: none do."
)
@click.option("-o", "options", multiple=True, metavar="OPTIONS", help=OPTIONS)
@click.option("-m", expose_value=False, hidden=True)
@click.option("-W", expose_value=False, hidden=True, is_flag=True)
@cache_modes
@progress_option
@quiet_option
@share_option
@backing_folders
@click.argument("paths", nargs=-1, required=True, metavar="FILE... NEW")
def convert(
    format: str | None,
    target_format: str,
    compress: bool,
    snapshot: str | None,
    backing: str | None,
    backing_format: str | None,
    into: bool,
    sparse: int,
    options: tuple[str, ...],
    progress: bool,
    quiet: bool,
    shared: bool,
    folders: tuple[str, ...],
    paths: tuple[str, ...],
) -> None:
    """Make an image NEW that shows what FILE does, or several of them one behind the other.

    It gets its name when it is finished; what was there before is replaced, unless it is in use.
    """
    if len(paths) < 2:
        raise click.UsageError("say which image to convert, and where to")
    *sources, target = paths
    with shown_progress(f"converting {sources[0]}", printed=progress, quiet=quiet) as told:
        images.convert(
            sources,
            target,
            format=format,
            target_format=target_format,
            compress=compress,
            snapshot=snapshot and snapshot_name(snapshot),
            backing=backing,
            backing_format=backing_format,
            sparse=sparse,
            into=into,
            shared=shared,
            folders=folders,
            options=read_options(options),
            progress=told,
        )


@click.command("measure", cls=OnceEach)
@format_option
@click.option(
    "-O", "target_format", default="raw", metavar="FORMAT", help="raw (the default) or qcow2."
)
@click.option("-l", "snapshot", metavar="SNAPSHOT", help="Measure the disk that a snapshot has.")
@click.option("-o", "options", multiple=True, metavar="OPTIONS", help=OPTIONS)
@click.option("--size", type=SIZE, help="Measure an empty disk of that size instead of FILE.")
@output_option
@share_option
@backing_folders
@click.argument("path", required=False, metavar="[FILE]")
def measure(
    format: str | None,
    target_format: str,
    snapshot: str | None,
    options: tuple[str, ...],
    size: int | None,
    output: str,
    shared: bool,
    folders: tuple[str, ...],
    path: str | None,
) -> None:
    """Tell how large an image of FILE, or of an empty disk, would be."""
    if (path is None) == (size is None):
        raise click.UsageError("give either an image or --size")
    given = read_options(options)
    if path is None:
        result = images.measure_new(size or 0, target_format=target_format, options=given)
    else:
        result = images.measure(
            path,
            format=format,
            target_format=target_format,
            snapshot=snapshot and snapshot_name(snapshot),
            shared=shared,
            folders=folders,
            options=given,
        )
    told = {"required": result.required, "fully-allocated": result.fully_allocated}
    if result.bitmaps is not None:
        told["bitmaps"] = result.bitmaps
    if output == "json":
        click.echo(json.dumps(told, indent=4))
        return
    click.echo(f"required size: {result.required}")
    click.echo(f"fully allocated size: {result.fully_allocated}")
    if result.bitmaps is not None:
        click.echo(f"bitmaps size: {result.bitmaps}")


def snapshot_name(text: str) -> str:
    """What ``-l`` names: an identity or a name, perhaps as snapshot.id=1 or snapshot.name=NAME."""
    for word in text.split(","):
        if word.startswith(("snapshot.id=", "snapshot.name=")):
            return word.partition("=")[2]
    return text
