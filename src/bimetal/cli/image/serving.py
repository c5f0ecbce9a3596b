"""``bimetal image serve``."""

from __future__ import annotations

from functools import partial

import click

from bimetal.cli.ending import Ending
from bimetal.cli.image.options import backing_folders, format_option
from bimetal.cli.options import OnceEach
from bimetal.images.serving import DEFAULT_PORT, ServedImage, serve_whole_requests

__all__ = ["serve"]


@click.command("serve", cls=OnceEach)
@format_option
@click.option("-r", "--read-only", "readonly", is_flag=True, help="Let no client write.")
@click.option("-s", "--snapshot", is_flag=True, help="Forget at the end what clients write.")
@click.option("-x", "--export-name", "name", default="", metavar="NAME", help="Its name; none.")
@click.option("-k", "--socket", metavar="PATH", help="Listen at a Unix socket, not at a port.")
@click.option("-b", "--bind", "host", default="127.0.0.1", metavar="ADDRESS",
              help="Listen at this address; 127.0.0.1, which only this host reaches.")  # fmt: skip
@click.option("-p", "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT,
              help="Listen at this port; 10809. 0: any that is free.")  # fmt: skip
@click.option("-e", "--shared", type=click.IntRange(1, 1000), default=1, metavar="NUMBER",
              help="How many clients may use it at a time; 1.")  # fmt: skip
@backing_folders
@click.argument("path", metavar="FILE")
@click.pass_obj
def serve(
    ending: Ending,
    format: str | None,
    readonly: bool,
    snapshot: bool,
    name: str,
    socket: str | None,
    host: str,
    port: int,
    shared: int,
    folders: tuple[str, ...],
    path: str,
) -> None:
    """Serve an image as a disk by NBD, until Ctrl-C.

    The address is printed when clients may come: nbd://127.0.0.1:10809, or nbd+unix://?socket=PATH.
    Whoever reaches it can read, and without -r write, the disk: there is no password and no TLS.
    """
    make = partial(
        ServedImage,
        path,
        format=format,
        readonly=readonly,
        snapshot=snapshot,
        folders=folders,
        name=name,
        socket=socket,
        host=host,
        port=port,
        shared=shared,
    )
    with ending.of(make, lambda: None) as image:
        click.echo(image.address)
        serve_whole_requests(image)
