"""Commands about states of a machine that its qcow2 disks keep, as ``savevm`` does."""

from __future__ import annotations

from typing import Annotated

from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.managed import Managed

__all__ = ["KeptInfo", "delete_snapshot", "load_snapshot", "save_snapshot", "snapshots"]


class KeptInfo(Answer):
    """A state that the disks of a machine keep."""

    name: Annotated[str, "what it is called"]
    seconds: Annotated[int, "when it was made, since 1970"]


Name = Annotated[str, "what the state is called"]


@MACHINE.command("bimetal-snapshots")
def snapshots(vm: Managed) -> list[KeptInfo]:
    """List the states that the disks keep, the oldest first."""
    kept = vm.machine.kept_states()
    return [KeptInfo(name=name, seconds=seconds) for name, seconds in kept.items()]


@MACHINE.command("bimetal-snapshot-save")
def save_snapshot(vm: Managed, name: Name) -> None:
    """Keep the state of the machine, and of its disks, in its qcow2 disks, in place of an earlier
    one of that name."""
    vm.machine.savevm(name)


@MACHINE.command("bimetal-snapshot-load")
def load_snapshot(vm: Managed, name: Name) -> None:
    """Bring the machine and its disks to a state that was kept."""
    vm.machine.loadvm(name)


@MACHINE.command("bimetal-snapshot-delete")
def delete_snapshot(vm: Managed, name: Name) -> None:
    """Forget a state that was kept."""
    vm.machine.delvm(name)
