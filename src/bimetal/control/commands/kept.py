"""Commands about states of a machine that its qcow2 disks keep, as ``savevm`` does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

from bimetal.base.late import late
from bimetal.control.commands.nodes import disk_of, refused
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.managed import Managed

__all__ = ["KeptInfo", "delete_snapshot", "load_snapshot", "save_snapshot", "snapshots"]
__all__ += ["begin_delete", "begin_load", "begin_save"]


class KeptInfo(Answer):
    """A state that the disks of a machine keep."""

    name: Annotated[str, "what it is called"]
    seconds: Annotated[int, "when it was made, since 1970"]


Name = Annotated[str, "what the state is called"]
JobId = Annotated[str, "what to call the job"]
Place = Annotated[str, "the disk that keeps the state of the machine, by its node: one of devices"]
Disks = Annotated[
    tuple[str, ...], "the disks that make a snapshot, by their nodes: all that the guest writes to"
]


@MACHINE.command("bimetal-snapshots")
def snapshots(vm: Managed) -> list[KeptInfo]:
    """List the states that the disks keep, the oldest first."""
    kept = vm.machine.kept_states()
    return [KeptInfo(name=name, seconds=seconds) for name, seconds in kept.items()]


@MACHINE.command("bimetal-snapshot-save")
def save_snapshot(
    vm: Managed,
    name: Name,
    replace: Annotated[bool, "whether an earlier one of that name goes, or is an error"] = True,
) -> None:
    """Keep the state of the machine, and of its disks, in its qcow2 disks."""
    vm.machine.savevm(name, replace=replace)


@MACHINE.command("bimetal-snapshot-load")
def load_snapshot(vm: Managed, name: Name) -> None:
    """Bring the machine and its disks to a state that was kept."""
    vm.machine.loadvm(name)


@MACHINE.command("bimetal-snapshot-delete")
def delete_snapshot(vm: Managed, name: Name) -> None:
    """Forget a state that was kept."""
    vm.machine.delvm(name)


@MACHINE.command("snapshot-save")
def begin_save(vm: Managed, job_id: JobId, tag: Name, vmstate: Place, devices: Disks) -> None:
    """Keep the state of the machine, and of its disks, in its qcow2 disks, by a job. It fails if
    there is a state of that name."""
    _check_disks(vm, devices, vmstate)
    if tag in vm.machine.snapshots:
        raise refused(f"there is a state {tag[:80]!r} already: choose another name, or delete it")
    _begin(vm, "Saving", job_id, partial(vm.machine.savevm, tag, replace=False))


@MACHINE.command("snapshot-load")
def begin_load(vm: Managed, job_id: JobId, tag: Name, vmstate: Place, devices: Disks) -> None:
    """Bring the machine and its disks to a state that was kept, by a job."""
    _check_disks(vm, devices, vmstate)
    _begin(vm, "Loading", job_id, partial(vm.machine.loadvm, tag))


@MACHINE.command("snapshot-delete")
def begin_delete(vm: Managed, job_id: JobId, tag: Name, devices: Disks) -> None:
    """Forget a state that was kept, by a job."""
    _check_disks(vm, devices)
    _begin(vm, "Deleting", job_id, partial(vm.machine.delvm, tag))


def _begin(vm: Managed, kind: str, job_id: str, do: Callable[[], None]) -> None:
    jobs = vm.machine.jobs
    terms = late("bimetal.machine.live.job:Terms")(job_id, auto_dismiss=False)
    jobs.begin(late(f"bimetal.machine.live.keeping:{kind}")(terms, jobs.tell, do))


def _check_disks(vm: Managed, devices: tuple[str, ...], vmstate: str = "") -> None:
    """Raise `CommandFailed` unless these are all disks to which the guest writes: a state is one of
    all of them."""
    if vmstate and vmstate not in devices:
        raise refused(f"{vmstate[:80]!r} is not one of devices")
    named = {disk_of(vm, each) for each in devices}
    written = {
        drive.name
        for drive in vm.machine.drives()
        if not (drive.readonly or drive.removable or drive.snapshot)
    }
    if named != written:
        raise refused(f"a state is one of all disks that the guest writes to: {sorted(written)}")
