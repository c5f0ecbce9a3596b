"""What jobs tell of themselves."""

from __future__ import annotations

from enum import Enum, StrEnum

from msgspec import Struct

__all__ = ["JobNews", "JobView", "NewsKind", "Status"]


class Status(StrEnum):
    """How far a job is, in the words of QMP (QEMU's qapi/job.json, JobStatus)."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    READY = "ready"
    STANDBY = "standby"
    WAITING = "waiting"
    PENDING = "pending"
    ABORTING = "aborting"
    CONCLUDED = "concluded"
    NULL = "null"


class NewsKind(Enum):
    """What is told."""

    STATUS = "status"
    READY = "ready"
    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    ERROR = "error"


class JobView(Struct, frozen=True):
    """A job as it is at a moment: ``done`` of ``total`` bytes, ``speed`` in bytes a second, 0
    without a limit; ``error`` says why it has failed, if it has. ``stuck`` is "" unless it waits
    after an error of the host: "failed", or "nospace"."""

    id: str
    kind: str
    drive: str
    status: Status
    done: int
    total: int
    speed: int
    error: str = ""
    stuck: str = ""
    auto_finalize: bool = True
    auto_dismiss: bool = True

    @property
    def ready(self) -> bool:
        """Whether it only follows the guest, and can be completed."""
        return self.status in (Status.READY, Status.STANDBY)

    @property
    def paused(self) -> bool:
        """Whether it stands still until it is resumed."""
        return self.status in (Status.PAUSED, Status.STANDBY)


class JobNews(Struct, frozen=True):
    """What a job tells. Of an error ``reading`` says whether that was the ``operation``, and
    ``action`` what is done about it: "report", "ignore" or "stop"."""

    kind: NewsKind
    job: JobView
    reading: bool = False
    action: str = ""
