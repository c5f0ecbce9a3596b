"""The events that QMP tells of, and what they carry (QEMU's qapi/run-state.json and qdev.json)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from bimetal.control.contract import Answer
from bimetal.machine.events import EventKind, MachineEvent
from bimetal.machine.result import Ending, Result

__all__ = [
    "EVENTS",
    "BalloonData",
    "CauseData",
    "Event",
    "MigrationData",
    "ShutdownCause",
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

    status: Annotated[str, "setup, active, completed or failed"]


class BalloonData(Answer):
    """How much memory a guest has."""

    actual: Annotated[int, "bytes that are not in the balloon"]


EVENTS: Mapping[str, type[msgspec.Struct] | None] = {
    "BALLOON_CHANGE": BalloonData,
    "DEVICE_DELETED": DeviceData,
    "GUEST_PANICKED": PanicData,
    "MIGRATION": MigrationData,
    "POWERDOWN": None,
    "RESET": CauseData,
    "RESUME": None,
    "SHUTDOWN": CauseData,
    "STOP": None,
}
"""What each event carries."""


@dataclass(frozen=True)
class Event:
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
        case EventKind.OVER:
            ending = None if result is None else result.ending
            guest, reason = OF_RUN.get(ending, (False, by_host))
            panicked = [Event("GUEST_PANICKED", PanicData())] * (ending is Ending.PANIC)
            return [*panicked, Event("SHUTDOWN", CauseData(guest=guest, reason=reason))]
