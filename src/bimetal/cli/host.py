"""Options of ``bimetal run`` about the host's side of a machine, be it new or restored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import click

__all__ = ["HostOptions", "host_options"]

Answer = TypeVar("Answer")

ACCELERATORS = ("auto", "jit", "interp", "kvm")


@dataclass(frozen=True)
class HostOptions:
    """Arguments of `Machine` and of `Machine.restore`."""

    accel: str
    serial: str
    background: bool


def host_options(command: Callable[..., Answer]) -> Callable[..., Answer]:
    """Options --accel, --serial and --background: ``command`` has them as ``host``."""

    @click.option(
        "--accel",
        type=click.Choice(ACCELERATORS, case_sensitive=False),
        default="auto",
        show_default=True,
        help="What runs the CPUs; auto is KVM if that can, or else the jit.",
    )
    @click.option(
        "--serial",
        default="stdio",
        show_default=True,
        metavar="WHERE",
        help="stdio, none, pty, file:PATH, unix:PATH or tcp:HOST:PORT.",
    )
    @click.option(
        "--background/--no-background",
        default=True,
        show_default=True,
        help="Compile in the background after the end, for the next run, what was hot.",
    )
    @wraps(command)
    def gathered(accel: str, serial: str, background: bool, **others: Any) -> Answer:
        return command(host=HostOptions(accel, serial, background), **others)

    return gathered
