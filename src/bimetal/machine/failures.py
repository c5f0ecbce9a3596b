"""What is done about errors of the host, while a disk does what the guest asks."""

from __future__ import annotations

import errno

from msgspec import Struct

from bimetal.devices.answers import Answer
from bimetal.machine.config import ENOSPC, Disk

__all__ = ["DiskFailure", "answer_to"]

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors that the user can put right while the guest runs."""


class DiskFailure(Struct, frozen=True):
    """An error of the host: whether something was written, what is done about it, whether there is
    no room, and what the host calls it."""

    writes: bool
    action: Answer
    full: bool
    reason: str


def answer_to(disk: Disk, error: OSError, *, writes: bool) -> DiskFailure:
    """What a disk that was described so does about an error."""
    policy, full = disk.write_policy if writes else disk.read_errors, error.errno in FULL
    if policy == ENOSPC:
        policy = Answer.STOP.value if full else Answer.REPORT.value
    return DiskFailure(writes, Answer(policy), full, error.strerror or str(error))
