"""The events that QMP tells of, and what they carry (QEMU's qapi/run-state.json and qdev.json)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import UNSET, Struct, UnsetType

from bimetal.control.contract import Answer
from bimetal.control.qdev import qdev_of
from bimetal.control.visits import VisitData, visit_data
from bimetal.machine.events import EventKind, MachineEvent
from bimetal.machine.live.news import JobNews, NewsKind
from bimetal.machine.result import Ending, Result

if TYPE_CHECKING:
    from bimetal.machine.failures import DiskFailure

__all__ = [
    "EVENTS",
    "BalloonData",
    "BlockJobData",
    "CauseData",
    "DumpData",
    "DumpInfo",
    "Event",
    "MigrationData",
    "PassData",
    "ShutdownCause",
    "ThresholdData",
    "told_of",
]


class ShutdownCause(StrEnum):
    """Who has ended a run, or reset a machine."""

    HOST_ERROR = "host-error"
    HOST_QMP_QUIT = "host-qmp-quit"
    HOST_QMP_SYSTEM_RESET = "host-qmp-system-reset"
    HOST_SIGNAL = "host-signal"
    HOST_UI = "host-ui"
    GUEST_SHUTDOWN = "guest-shutdown"
    GUEST_RESET = "guest-reset"
    GUEST_PANIC = "guest-panic"


class CauseData(Answer):
    """Who has ended a run, or reset a machine."""

    guest: Annotated[bool, "whether the guest did it"]
    reason: Annotated[ShutdownCause, "what led to it"]


class PanicData(Answer):
    """What is done with a guest that has panicked."""

    action: Annotated[str, "always poweroff: the run ends"] = "poweroff"


class DeviceData(Answer):
    """A device that is gone."""

    path: Annotated[str, "where it was in the tree of objects"]
    device: Annotated[str | UnsetType, "its id, if it was given one"] = UNSET


class MigrationData(Answer):
    """How far the state of a machine is on its way."""

    status: Annotated[str, "setup, active, completed, failed, cancelling or cancelled"]


class PassData(Answer):
    """A machine that moves has its memory gone through."""

    number: Annotated[int, "how often that is"] = msgspec.field(name="pass")


class DumpInfo(Answer):
    """How much of a core file was written."""

    status: Annotated[str, "none, active, completed or failed"]
    completed: Annotated[int, "bytes of memory that were written"]
    total: Annotated[int, "bytes of memory in all"]


class DumpData(Answer):
    """A core file is there, or cannot be."""

    result: Annotated[DumpInfo, "how much of it was written"]
    error: Annotated[str | UnsetType, "why it cannot be"] = UNSET


class BalloonData(Answer):
    """How much memory a guest has."""

    actual: Annotated[int, "bytes that are not in the balloon"]


class ClockData(Answer):
    """The guest has set its real-time clock."""

    offset: Annotated[int, "seconds that it is ahead of the host's"]
    qom_path: Annotated[str, "where it is in the tree of objects"] = "/machine/rtc"


class BlockErrorData(Answer):
    """The host has failed to do what the guest asks of a disk."""

    device: Annotated[str, "the name of the disk, if it has no id"]
    qom_path: Annotated[str, "where it is in the tree of objects"]
    operation: Annotated[str, "read or write"]
    action: Annotated[
        str, "what is done about it: report it to the guest, ignore it, or stop; cont tries again"
    ]
    nospace: Annotated[bool, "whether the host has no room"]
    reason: Annotated[str, "what the host calls it"]


class ThresholdData(Answer):
    """An image was written further than a client has said."""

    node_name: Annotated[str, "the image, or its file"]
    amount_exceeded: Annotated[int, "bytes beyond the threshold"]
    write_threshold: Annotated[int, "the threshold, which is gone now"]


class ExportData(Answer):
    """An image is served no more."""

    id: Annotated[str, "what the export was called"]


class JobData(Answer):
    """How far a job is."""

    id: Annotated[str, "which"]
    status: Annotated[str, "created, running, ready, concluded, null, ..."]


class BlockJobData(Answer):
    """What a job has done."""

    type: Annotated[str, "what it does: commit, stream, mirror or backup"]
    device: Annotated[str, "which: its id"]
    len: Annotated[int, "bytes that there are to do"]
    offset: Annotated[int, "bytes that are done"]
    speed: Annotated[int, "bytes that it may do in a second, 0 without a limit"]
    error: Annotated[str | UnsetType, "why it has failed, if it has"] = UNSET


class BlockJobErrorData(Answer):
    """An error of the host that a job has met."""

    device: Annotated[str, "which job"]
    operation: Annotated[str, "read or write"]
    action: Annotated[str, "what is done about it: report, ignore or stop"]


class BlockJobPendingData(Answer):
    """A job that waits for its last step."""

    type: Annotated[str, "what it does"]
    id: Annotated[str, "which"]


EVENTS: Mapping[str, type[msgspec.Struct] | None] = {
    "BALLOON_CHANGE": BalloonData,
    "BLOCK_EXPORT_DELETED": ExportData,
    "BLOCK_IO_ERROR": BlockErrorData,
    "BLOCK_JOB_CANCELLED": BlockJobData,
    "BLOCK_JOB_COMPLETED": BlockJobData,
    "BLOCK_JOB_ERROR": BlockJobErrorData,
    "BLOCK_JOB_PENDING": BlockJobPendingData,
    "BLOCK_JOB_READY": BlockJobData,
    "BLOCK_WRITE_THRESHOLD": ThresholdData,
    "DEVICE_DELETED": DeviceData,
    "DUMP_COMPLETED": DumpData,
    "GUEST_PANICKED": PanicData,
    "JOB_STATUS_CHANGE": JobData,
    "MIGRATION": MigrationData,
    "MIGRATION_PASS": PassData,
    "POWERDOWN": None,
    "RESET": CauseData,
    "RESUME": None,
    "RTC_CHANGE": ClockData,
    "SHUTDOWN": CauseData,
    "STOP": None,
    "VNC_CONNECTED": VisitData,
    "VNC_DISCONNECTED": VisitData,
    "VNC_INITIALIZED": VisitData,
}
"""What each event carries."""


class Event(Struct, frozen=True):
    """Something to tell clients of."""

    name: str
    data: Answer | None = None


OF_RUN: Mapping[Ending | None, tuple[bool, ShutdownCause]] = {
    Ending.POWER_OFF: (True, ShutdownCause.GUEST_SHUTDOWN),
    Ending.RESET: (True, ShutdownCause.GUEST_RESET),
    Ending.PANIC: (True, ShutdownCause.GUEST_PANIC),
    Ending.FAULT: (False, ShutdownCause.HOST_ERROR),
    None: (False, ShutdownCause.HOST_ERROR),
}
"""Whether the guest has ended a run that ended so, and why; None: by a defect of ours."""


def told_of(
    event: MachineEvent, result: Result | None, device: str, by_host: ShutdownCause
) -> list[Event]:
    """What is told of something that has happened to a machine: ``result`` is that of its run,
    ``device`` the id of the device it is about, ``by_host`` why the host has ended it if it has."""
    match event.kind:
        case EventKind.PAUSED:
            return [Event("STOP")]
        case EventKind.RESUMED:
            return [Event("RESUME")]
        case EventKind.POWER_BUTTON:
            return [Event("POWERDOWN")]
        case EventKind.RESET:
            by_guest, us = ShutdownCause.GUEST_RESET, ShutdownCause.HOST_QMP_SYSTEM_RESET
            reset = CauseData(guest=event.guest, reason=by_guest if event.guest else us)
            return [Event("RESET", reset)]
        case EventKind.UNPLUGGED if device:
            data = DeviceData(device=device, path=f"/machine/peripheral/{device}")
            return [Event("DEVICE_DELETED", data)]
        case EventKind.UNPLUGGED:
            data = DeviceData(path=f"/machine/peripheral-anon/{event.device}")
            return [Event("DEVICE_DELETED", data)]
        case EventKind.BALLOON:
            return [Event("BALLOON_CHANGE", BalloonData(actual=event.memory))]
        case EventKind.IO_ERROR:
            return [] if event.failure is None else [_io_error(event, event.failure, device)]
        case EventKind.CLOCK:
            return [Event("RTC_CHANGE", ClockData(offset=event.seconds))]
        case EventKind.JOB:
            return [] if event.job is None else told_of_job(event.job)
        case EventKind.VISIT:
            assert event.stage is not None
            assert event.visit is not None
            return [Event(f"VNC_{event.stage.name}", visit_data(event.visit))]
        case EventKind.OVER:
            ending = None if result is None else result.ending
            guest, reason = OF_RUN.get(ending, (False, by_host))
            panicked = [Event("GUEST_PANICKED", PanicData())] * (ending is Ending.PANIC)
            return [*panicked, Event("SHUTDOWN", CauseData(guest=guest, reason=reason))]


def _io_error(event: MachineEvent, failure: DiskFailure, device: str) -> Event:
    data = BlockErrorData(
        device="" if device else event.device,
        qom_path=qdev_of(device, event.device),
        operation="write" if failure.writes else "read",
        action=failure.action.value,
        nospace=failure.full,
        reason=failure.reason,
    )
    return Event("BLOCK_IO_ERROR", data)


OF_JOB = {
    NewsKind.READY: "BLOCK_JOB_READY",
    NewsKind.COMPLETED: "BLOCK_JOB_COMPLETED",
    NewsKind.CANCELLED: "BLOCK_JOB_CANCELLED",
}


def told_of_job(news: JobNews) -> list[Event]:
    """What is told of what a job has told. One that works on no disk has no events of its own."""
    job = news.job
    if news.kind is NewsKind.STATUS:
        return [Event("JOB_STATUS_CHANGE", JobData(id=job.id, status=job.status.value))]
    if not job.drive:
        return []
    if news.kind is NewsKind.ERROR:
        word = "read" if news.reading else "write"
        failure = BlockJobErrorData(device=job.id, operation=word, action=news.action)
        return [Event("BLOCK_JOB_ERROR", failure)]
    if news.kind is NewsKind.PENDING:
        return [Event("BLOCK_JOB_PENDING", BlockJobPendingData(type=job.kind, id=job.id))]
    data = BlockJobData(
        type=job.kind,
        device=job.id,
        len=job.total,
        offset=job.done,
        speed=job.speed,
        error=job.error or UNSET,
    )
    return [Event(OF_JOB[news.kind], data)]
