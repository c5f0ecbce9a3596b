"""Commands about commands: what there is, and what it takes."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from bimetal.base.errors import ExitCode
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.events import EVENTS
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import Managed
from bimetal.control.schema import schema_of
from bimetal.control.version import PROTOCOL, Triple, package

__all__ = ["VersionInfo", "capabilities", "query_version"]


class VersionInfo(Answer):
    """Which QMP is spoken, and by whom."""

    qemu: Annotated[Triple, "the version of QEMU whose QMP this is a part of"]
    package: Annotated[str, "this program and its version"]


class CommandInfo(Answer):
    """A command."""

    name: Annotated[str, "its name"]


class EventInfo(Answer):
    """An event."""

    name: Annotated[str, "its name"]


@MACHINE.command("qmp_capabilities")
def capabilities(
    vm: Managed,
    enable: Annotated[tuple[Literal["oob"], ...], "capabilities to switch on"] = (),
) -> None:
    """Leave the negotiation with which each connection begins. It is the first command there, and
    an error later."""
    raise CommandFailed(
        ErrorClass.COMMAND_NOT_FOUND,
        "the negotiation of capabilities is over",
        "leave qmp_capabilities away",
        ExitCode.USAGE,
    )


@MACHINE.command("query-version", out_of_band=True)
def query_version(vm: Managed) -> VersionInfo:
    """Say which QMP is spoken, and by whom."""
    return VersionInfo(qemu=PROTOCOL, package=package())


@MACHINE.command("query-commands")
def query_commands(vm: Managed) -> list[CommandInfo]:
    """List the commands by name."""
    return [CommandInfo(name=command.name) for command in MACHINE]


@MACHINE.command("query-events")
def query_events(vm: Managed) -> list[EventInfo]:
    """List the events by name."""
    return [EventInfo(name=name) for name in EVENTS]


@MACHINE.command("query-qmp-schema")
def query_qmp_schema(vm: Managed) -> list[dict[str, Any]]:
    """Describe all commands and events, with the types of what they take and return."""
    return _schema()


@cache
def _schema() -> list[dict[str, Any]]:
    return schema_of(MACHINE, EVENTS)
