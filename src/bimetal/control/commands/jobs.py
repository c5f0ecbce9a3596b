"""Commands about jobs, which work on disks beside the guest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import UNSET, UnsetType

from bimetal.base.errors import BimetalError
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import Managed
from bimetal.machine.live.news import JobView, Status

if TYPE_CHECKING:
    from bimetal.machine.live.job import Job

__all__ = ["BlockJobInfo", "JobInfo", "query_block_jobs", "query_jobs"]

IO_STATUS = {"": "ok", "failed": "failed", "nospace": "nospace"}


class JobInfo(Answer):
    """A job."""

    id: Annotated[str, "what it is called"]
    type: Annotated[str, "what it does: commit, stream, mirror, backup, create, snapshot-save, ..."]
    status: Annotated[str, "created, running, paused, ready, standby, pending, concluded, ..."]
    current_progress: Annotated[int, "how much is done, of the total"]
    total_progress: Annotated[int, "how much there is to do, as far as is known"]
    error: Annotated[str | UnsetType, "why it has failed, if it has"] = UNSET


class BlockJobInfo(Answer):
    """A job that works on a disk."""

    device: Annotated[str, "what it is called"]
    type: Annotated[str, "what it does: commit, stream, mirror or backup"]
    status: Annotated[str, "as query-jobs tells it"]
    len: Annotated[int, "bytes that there are to do, as far as is known"]
    offset: Annotated[int, "bytes that are done"]
    speed: Annotated[int, "bytes that it may do in a second, 0 without a limit"]
    busy: Annotated[bool, "whether it is at work"]
    paused: Annotated[bool, "whether it stands still until it is resumed"]
    ready: Annotated[bool, "whether it can be completed"]
    io_status: Annotated[str, "ok, or what it waits after: failed, nospace"]
    auto_finalize: Annotated[bool, "whether it does its last step by itself"]
    auto_dismiss: Annotated[bool, "whether it is forgotten by itself"]
    error: Annotated[str | UnsetType, "why it has failed, if it has"] = UNSET


Id = Annotated[str, "the job"]
Device = Annotated[str, "the job, or the disk that it works on"]


@MACHINE.command("query-jobs", safe=True)
def query_jobs(vm: Managed) -> list[JobInfo]:
    """List the jobs that are not dismissed."""
    return [
        JobInfo(
            id=job.id,
            type=job.kind,
            status=job.status.value,
            current_progress=job.done,
            total_progress=job.total,
            error=job.error or UNSET,
        )
        for job in _views(vm)
    ]


@MACHINE.command("query-block-jobs", safe=True)
def query_block_jobs(vm: Managed) -> list[BlockJobInfo]:
    """List the jobs that work on disks and are not dismissed."""
    return [
        BlockJobInfo(
            device=job.id,
            type=job.kind,
            status=job.status.value,
            len=job.total,
            offset=job.done,
            speed=job.speed,
            busy=job.status is Status.RUNNING,
            paused=job.paused,
            ready=job.ready,
            io_status=IO_STATUS[job.stuck],
            auto_finalize=job.auto_finalize,
            auto_dismiss=job.auto_dismiss,
            error=job.error or UNSET,
        )
        for job in _views(vm)
        if job.drive
    ]


@MACHINE.command("job-cancel")
def job_cancel(vm: Managed, id: Id) -> None:
    """Give a job up: all is as it was."""
    _job(vm, id).cancel()


@MACHINE.command("job-complete")
def job_complete(vm: Managed, id: Id) -> None:
    """Have the disk be the copy from now on, of a job that is ready."""
    _job(vm, id).complete()


@MACHINE.command("job-dismiss")
def job_dismiss(vm: Managed, id: Id) -> None:
    """Forget a job that is concluded."""
    _job(vm, id).dismiss()


@MACHINE.command("job-finalize")
def job_finalize(vm: Managed, id: Id) -> None:
    """Have a job that is pending do its last step."""
    _job(vm, id).finalize()


@MACHINE.command("job-pause")
def job_pause(vm: Managed, id: Id) -> None:
    """Have a job stand still."""
    _job(vm, id).pause()


@MACHINE.command("job-resume")
def job_resume(vm: Managed, id: Id) -> None:
    """Have a job go on that was paused, or that waits after an error."""
    _job(vm, id).resume()


@MACHINE.command("block-job-cancel")
def block_job_cancel(
    vm: Managed,
    device: Device,
    force: Annotated[bool, "whether a copy that is ready is given up, too"] = False,
) -> None:
    """Give a job up. The copy of one that is ready stays as the disk is now, and the disk what it
    was."""
    _active(vm, device).cancel(force=force)


@MACHINE.command("block-job-complete")
def block_job_complete(vm: Managed, device: Device) -> None:
    """Have the disk be the copy from now on, of a job that is ready."""
    _active(vm, device).complete()


@MACHINE.command("block-job-dismiss")
def block_job_dismiss(vm: Managed, id: Id) -> None:
    """Forget a job that is concluded."""
    job_dismiss(vm, id)


@MACHINE.command("block-job-finalize")
def block_job_finalize(vm: Managed, id: Id) -> None:
    """Have a job that is pending do its last step."""
    job_finalize(vm, id)


@MACHINE.command("block-job-pause")
def block_job_pause(vm: Managed, device: Device) -> None:
    """Have a job stand still."""
    _active(vm, device).pause()


@MACHINE.command("block-job-resume")
def block_job_resume(vm: Managed, device: Device) -> None:
    """Have a job go on that was paused, or that waits after an error."""
    _active(vm, device).resume()


@MACHINE.command("block-job-set-speed")
def block_job_set_speed(
    vm: Managed,
    device: Device,
    speed: Annotated[int, "bytes that it may do in a second, 0 without a limit"],
) -> None:
    """Limit the speed of a job."""
    _active(vm, device).limit(speed)


def _views(vm: Managed) -> list[JobView]:
    return [] if vm.given is None else [job.view for job in vm.given.jobs]


def _job(vm: Managed, id_: str) -> Job:
    return vm.machine.jobs[id_]


def _active(vm: Managed, device: str) -> Job:
    """The job that is called so, or that works on a disk that is. Raises `CommandFailed`."""
    drive = vm.devices.get(device, device)
    for job in vm.machine.jobs:
        if device == job.terms.id or (drive == job.drive and job.drive):
            return job
    try:
        return _job(vm, device)
    except BimetalError as error:
        raise CommandFailed(ErrorClass.DEVICE_NOT_ACTIVE, error.cause, error.remedy) from error
