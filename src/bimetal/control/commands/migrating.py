"""Commands about the state of a machine on its way to a file, as libvirt saves and restores it.

What is written is a snapshot of ours, and the machine stands still meanwhile: there is no migration
of a machine that runs.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, UnsetType

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.threads import EndingThread
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.events import Event, MigrationData
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.handed import take_handed
from bimetal.control.managed import Managed
from bimetal.control.streaming import load_from, save_to

__all__ = ["query_migrate_capabilities"]

EVENTS = "events"
FD = "fd:"


class MigrationCapability(Answer):
    """Something that migration may do."""

    capability: Annotated[str, "its name"]
    state: Annotated[bool, "whether it is switched on"]


class MigrationSwitch(Answer, forbid_unknown_fields=True):
    """Something that migration may do, to be switched on or off."""

    capability: Annotated[str, "its name"]
    state: Annotated[bool, "whether it is to be on"]


class MigrationRam(Answer):
    """How much memory is on its way, or was."""

    total: Annotated[int, "bytes of memory"]
    transferred: Annotated[int, "bytes that were written"]
    remaining: Annotated[int, "bytes that are left"] = 0


class MigrationInfo(Answer):
    """How far a migration is."""

    status: Annotated[str | UnsetType, "setup, active, completed, failed; missing before"] = UNSET
    ram: Annotated[MigrationRam | UnsetType, "missing until it is completed"] = UNSET
    error_desc: Annotated[str | UnsetType, "why it has failed"] = UNSET


@MACHINE.command("getfd")
def getfd(vm: Managed, fdname: Annotated[str, "what to call it"]) -> None:
    """Keep the descriptor that comes with this command, for another one."""
    vm.handed.keep(fdname, take_handed())


@MACHINE.command("closefd")
def closefd(vm: Managed, fdname: Annotated[str, "what it is called"]) -> None:
    """Close a descriptor that no command has used."""
    vm.handed.discard(fdname)


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


@MACHINE.command("query-migrate-parameters")
def query_migrate_parameters(vm: Managed) -> dict[str, Any]:
    """Tell how fast migration may be: as fast as it can."""
    return {}


@MACHINE.command("migrate-set-parameters")
def migrate_set_parameters(
    vm: Managed,
    max_bandwidth: Annotated[int | None, "accepted: it is as fast as it can be"] = None,
) -> None:
    """Say how fast migration may be."""


@MACHINE.command("query-migrate")
def query_migrate(vm: Managed) -> MigrationInfo:
    """Tell how far the migration is."""
    status, moved, why = vm.migration
    if not status:
        return MigrationInfo()
    ram: MigrationRam | UnsetType = UNSET
    if status in ("active", "completed"):
        size = vm.machine.config.memory
        ram = MigrationRam(total=size, transferred=moved, remaining=0 if moved else size)
    return MigrationInfo(status=status, ram=ram, error_desc=why or UNSET)


@MACHINE.command("migrate")
def migrate(
    vm: Managed,
    uri: Annotated[str, "where to: fd:NAME, a descriptor that was handed over"],
    detach: Annotated[bool, "accepted: it goes on while other commands are carried out"] = False,
    resume: Annotated[bool, "always false: it is begun anew"] = False,
    blk: Annotated[bool, "always false: disks stay where they are"] = False,
    inc: Annotated[bool, "always false"] = False,
) -> None:
    """Write the state of the machine, which stands still from now on. Events tell of the end
    (MIGRATION), or query-migrate."""
    if resume or blk or inc:
        raise _failed("only the state of the machine is written", "leave the switches away")
    if not vm.machine.running:
        raise _failed("the machine does not run", "start it")
    target = _descriptor(vm, uri)

    def work() -> None:
        try:
            vm.machine.pause()
            _tell(vm, "active")
            _tell(vm, "completed", save_to(vm.machine, target))
        except BimetalError as error:
            _tell(vm, "failed", why=str(error))

    _tell(vm, "setup")
    EndingThread(work, "migration").start()


@MACHINE.command("migrate-incoming")
def migrate_incoming(
    vm: Managed,
    uri: Annotated[str, "where from: fd:NAME, or fd:NUMBER for one that was there from the start"],
) -> None:
    """Load a state that `migrate` has written into a machine that was started with ``-incoming
    defer`` and the same command line. It is stopped afterwards."""
    if not vm.awaits_state:
        raise _failed("the machine does not wait for a state", "start it with -incoming defer")
    source = _descriptor(vm, uri)
    vm.awaits_state = False

    def work() -> None:
        try:
            _tell(vm, "active")
            load_from(vm.machine, source)
            vm.machine.pause()
            vm.machine.start()
            _tell(vm, "completed", 1)
        except BimetalError as error:
            _tell(vm, "failed", why=str(error))

    _tell(vm, "setup")
    EndingThread(work, "migration").start()


def _descriptor(vm: Managed, uri: str) -> int:
    """The descriptor that ``uri`` names, which is ours. Raises `CommandFailed`."""
    if uri.startswith(FD):
        return vm.handed.take(uri.removeprefix(FD))
    raise _failed(f"{uri[:80]!r} is not there", "write fd:NAME")


def _tell(vm: Managed, status: str, moved: int = 0, why: str = "") -> None:
    vm.migration = (status, moved, why)
    vm.on_event(Event("MIGRATION", MigrationData(status=status)))


def _failed(what: str, remedy: str) -> CommandFailed:
    return CommandFailed(ErrorClass.GENERIC, what, remedy, ExitCode.USAGE)
