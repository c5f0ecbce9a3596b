"""What happens to a whole machine, for programs that are to be told of it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

from bimetal.backends.vnc.visit import Stage, Visit
from bimetal.machine.live.news import JobNews

if TYPE_CHECKING:
    from bimetal.machine.failures import DiskFailure

__all__ = ["EventKind", "MachineEvent"]


class EventKind(Enum):
    """What happened."""

    PAUSED = "paused"
    RESUMED = "resumed"
    RESET = "reset"
    POWER_BUTTON = "power button pressed"
    UNPLUGGED = "device unplugged"
    BALLOON = "memory given or taken back"
    JOB = "news of a job"
    CLOCK = "real-time clock set"
    IO_ERROR = "error of the host"
    VISIT = "viewer comes or goes"
    OVER = "run over"


class MachineEvent(Struct, frozen=True):
    """Something that happened. ``guest`` says whether the guest itself caused it, ``device`` is the
    name of the device that it is about, if it is about one, ``memory`` the bytes that the guest has
    now, if that has changed, ``seconds`` how many its real-time clock is ahead of the
    host's, if the guest has set that, ``job`` what a job tells, ``stage`` how far a viewer is whose
    ``visit`` it is about, ``failure`` an error of the host."""

    kind: EventKind
    guest: bool = False
    device: str = ""
    memory: int = 0
    seconds: int = 0
    job: JobNews | None = None
    failure: DiskFailure | None = None
    stage: Stage | None = None
    visit: Visit | None = None
