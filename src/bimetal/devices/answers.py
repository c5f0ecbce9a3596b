"""What a disk does about an error of the host, while it does what the guest asks."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

__all__ = ["Answer", "Answers"]


class Answer(Enum):
    """Tell the guest, go on as if there were none, or have it done again when the machine, which
    is stopped, goes on."""

    REPORT = "report"
    IGNORE = "ignore"
    STOP = "stop"


Answers = Callable[[OSError, bool], Answer]
"""Is asked about an error, and whether something was written, with the lock held; if the answer is
that the machine is stopped, it sees to that."""
