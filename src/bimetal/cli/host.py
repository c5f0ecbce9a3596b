"""Options of ``bimetal run`` about the host's side of a machine, be it new or restored."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from importlib import import_module
from typing import Any, TypeVar

import click
from msgspec import Struct

from bimetal import Machine
from bimetal.cli.viewers import VNC, parse_vnc

__all__ = ["HostOptions", "host_options"]

Answer = TypeVar("Answer")

ACCELERATORS = ("auto", "jit", "interp", "kvm")


class HostOptions(Struct, frozen=True):
    """What the options ask for."""

    accel: str
    serial: str
    background: bool
    vnc: str | None = None
    sandbox: bool = False

    def confine(self, networks: Iterable[str] = ()) -> None:
        """Have this process give up what a machine on such ``networks`` does not need, if that is
        wanted. Raises `BimetalError`."""
        if self.sandbox:
            sandboxing = import_module("bimetal.control.sandboxing")
            sandboxing.confine(sandboxing.Sandbox(), networks)

    @property
    def of_machine(self) -> dict[str, Any]:
        """Arguments of `Machine` and of `Machine.restore`."""
        return {"accel": self.accel, "serial": self.serial, "background": self.background}

    def let_in(self, machine: Machine) -> None:
        """Let viewers see the screen of ``machine``. Raises `BimetalError`."""
        if self.vnc is not None:
            place, options = parse_vnc(self.vnc)
            machine.vnc(place, **options)


def host_options(command: Callable[..., Answer]) -> Callable[..., Answer]:
    """Options --accel, --serial, --vnc, --background and --sandbox, which ``command`` has as
    ``host``."""

    @click.option(
        "--accel",
        type=click.Choice(ACCELERATORS, case_sensitive=False),
        default="auto",
        show_default=True,
        help="What runs the CPUs; auto is KVM if that can, or else the jit where it is finished: "
        "elsewhere it has to be named. 'bimetal doctor' says what can run here.",
    )
    @click.option(
        "--serial",
        default="stdio",
        show_default=True,
        metavar="WHERE",
        help="stdio, none, pty, file:PATH, unix:PATH or tcp:HOST:PORT.",
    )
    @click.option(
        "--vnc",
        metavar=VNC.shown,
        help="Show the screen by VNC: ':1' is TCP port 5901 of this host only. 'password-file': a "
        "password of up to 8 bytes in its first line; 'tls-cert', 'tls-key': through TLS, with "
        "files in PEM; 'websocket': a place for pages, where ':1' is port 5701, and 'origin' one "
        "from which they may come.",
    )
    @click.option(
        "--background/--no-background",
        default=True,
        show_default=True,
        help="Compile in the background after the end, for the next run, what was hot.",
    )
    @click.option(
        "--sandbox",
        type=click.Choice(("on", "off")),
        default="off",
        show_default=True,
        help="Keep this process from all but files and networks: from other programs, users and "
        "processes, and from what changes the host.",
    )
    @wraps(command)
    def gathered(
        accel: str, serial: str, background: bool, vnc: str | None, sandbox: str, **others: Any
    ) -> Answer:
        host = HostOptions(accel, serial, background, vnc, sandbox == "on")
        return command(host=host, **others)

    return gathered
