"""What virtio devices and their transports know of each other (virtio 1.2, chapter 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bimetal.base.errors import GuestError
from bimetal.devices.virtio.queue import Virtqueue

__all__ = ["Transport", "idle", "selected"]


class Transport(Protocol):
    """What a device needs of the transport that carries it."""

    def queue_interrupt(self, index: int) -> None:
        """Queue ``index`` has used buffers that the driver wants to hear of."""

    def config_interrupt(self) -> None:
        """The configuration, or the status, has changed."""


def selected(queues: Sequence[Virtqueue], number: int) -> Virtqueue | None:
    """The queue that a driver has selected; None if there is none."""
    return queues[number] if number < len(queues) else None


def idle(queues: Sequence[Virtqueue], number: int) -> Virtqueue:
    """The queue that a driver has selected to set it up (4.1.4.3.2, 4.2.2.2). Raises `GuestError`
    if it is in use or does not exist."""
    queue = selected(queues, number)
    if queue is None or queue.ready:
        raise GuestError("set-up of a queue that is in use or does not exist")
    return queue
