"""Options of ``bimetal run`` for programs that control the machine while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from importlib import import_module
from typing import Any, TypeVar
from uuid import UUID, uuid4

import click
from msgspec import Struct

from bimetal import Machine, TimedOut

__all__ = ["Monitoring", "monitoring_options"]

Answer = TypeVar("Answer")

STDIO = "stdio"


class Monitoring(Struct, frozen=True):
    """Where QMP is served, what the machine is called there, and whether it waits for ``cont``."""

    places: tuple[str, ...] = ()
    name: str = ""
    uuid: UUID | None = None
    paused: bool = False

    def __post_init__(self) -> None:
        if self.paused and not self.places:
            raise click.UsageError("--paused waits for a program to go on: add --qmp WHERE")

    @contextmanager
    def of(self, machine: Machine, serial: str) -> Iterator[None]:
        """A context in which QMP is served for ``machine``, whose console leads to ``serial`` and
        whose run is over when it is left. Raises `BimetalError` for places that cannot be had."""
        if serial == STDIO and any(place.split(",")[0] == STDIO for place in self.places):
            raise click.UsageError(
                "the console and QMP cannot share standard input and output: add --serial none"
            )
        if self.paused:
            machine.pause()
        if not self.places:
            yield
            return
        uuid = self.uuid or uuid4()
        control = import_module("bimetal.control")
        with control.Monitor(machine, self.places, name=self.name, uuid=uuid) as monitor:
            monitor.wait_for_client()
            try:
                yield
            except BaseException:
                monitor.signalled()
                raise
            finally:
                with suppress(TimedOut):  # closing the machine says so
                    machine.stop()


def monitoring_options(command: Callable[..., Answer]) -> Callable[..., Answer]:
    """Options --qmp, --name, --uuid and --paused: ``command`` has them as ``monitoring``."""

    @click.option(
        "--qmp",
        multiple=True,
        metavar="WHERE",
        help="Let programs control the machine by QMP, at unix:PATH, tcp:127.0.0.1:PORT or stdio; "
        "may be repeated. ',server=on,wait=on' waits for one before the machine starts.",
    )
    @click.option("--name", default="", help="What QMP calls the machine.")
    @click.option("--uuid", type=click.UUID, help="Its identity there [a new one].")
    @click.option("-S", "--paused", is_flag=True, help="Start with the CPUs stopped, until 'cont'.")
    @wraps(command)
    def gathered(
        qmp: tuple[str, ...], name: str, uuid: UUID | None, paused: bool, **others: Any
    ) -> Answer:
        return command(monitoring=Monitoring(qmp, name, uuid, paused), **others)

    return gathered
