"""Commands about the state of a machine on its way to a file, as libvirt saves and restores it."""

from __future__ import annotations

from typing import Annotated

from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import Managed

__all__ = ["query_migrate_capabilities"]

EVENTS = "events"


class MigrationCapability(Answer):
    """Something that migration may do."""

    capability: Annotated[str, "its name"]
    state: Annotated[bool, "whether it is switched on"]


class MigrationSwitch(Answer, forbid_unknown_fields=True):
    """Something that migration may do, to be switched on or off."""

    capability: Annotated[str, "its name"]
    state: Annotated[bool, "whether it is to be on"]


@MACHINE.command("query-migrate-capabilities")
def query_migrate_capabilities(vm: Managed) -> list[MigrationCapability]:
    """List what migration may do: tell of its state by events, which it does always."""
    return [MigrationCapability(capability=EVENTS, state=True)]


@MACHINE.command("migrate-set-capabilities")
def migrate_set_capabilities(
    vm: Managed, capabilities: Annotated[list[MigrationSwitch], "what is to be on and off"]
) -> None:
    """Switch on what migration may do. What is not there can only be off."""
    for each in capabilities:
        if each.state and each.capability != EVENTS:
            raise CommandFailed(
                ErrorClass.GENERIC,
                f"migration cannot do {each.capability[:80]}",
                "leave it off",
            )
