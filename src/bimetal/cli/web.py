"""``bimetal web``: the machines that stay, on a page."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import click

from bimetal import BimetalError, ExitCode
from bimetal.cli.options import OnceEach
from bimetal.cli.secret_files import first_line
from bimetal.control.machines import Machines

__all__ = ["command"]

PLACE = "127.0.0.1:8470"
TOKEN = re.compile(r"[A-Za-z0-9_-]{16,}")


@click.command("web", cls=OnceEach)
@click.option(
    "--listen",
    default=PLACE,
    show_default=True,
    metavar="HOST:PORT",
    help="Where to listen; port 0 is a free one. Other hosts are let in through TLS only.",
)
@click.option("--tls-cert", default="", metavar="FILE", help="A certificate, in PEM.")
@click.option("--tls-key", default="", metavar="FILE", help="Its key, in PEM.")
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="HOST",
    help="A name of this host by which pages may ask for it; may be repeated. Addresses and "
    "localhost are known.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take the token from the first line of a file, instead of a new one.",
)
@click.option("--open", "opened", is_flag=True, help="Show the page in a browser.")
def command(
    listen: str,
    tls_cert: str,
    tls_key: str,
    names: tuple[str, ...],
    token_file: Path | None,
    opened: bool,
) -> None:
    """Serve a page with the machines that stay, and a REST API, until Ctrl-C.

    Who opens the page needs the token, which is in the link that is printed.
    """
    if tls_key and not tls_cert:
        raise click.UsageError("--tls-key is the key of a certificate: add --tls-cert FILE")
    try:
        serving, page = map(import_module, ("bimetal.web.serving", "bimetal.web.page"))
    except ModuleNotFoundError as error:
        raise BimetalError(
            f"the page takes the library {error.name}, which is not installed",
            "pip install 'bimetal[web]'",
            ExitCode.UNAVAILABLE,
        ) from error
    token = _token_in(token_file) if token_file else serving.new_token()
    site = serving.Site(Machines(), listen, token, names=names, certificate=tls_cert, key=tls_key)
    if not page.page_is_there():
        click.echo(f"bimetal: only the API is there; build the page: {page.BUILD}", err=True)
    click.echo(site.link)
    if opened:
        click.launch(site.link)
    try:
        site.run()
    finally:
        site.close()


def _token_in(path: Path) -> str:
    token = first_line(path, "token")
    if not TOKEN.fullmatch(token):
        raise BimetalError(
            f"the token in {path} is no line of 16 letters, digits, '-' and '_' or more",
            f"make one: openssl rand -hex 32 > {path}",
            ExitCode.DATA,
        )
    return token
