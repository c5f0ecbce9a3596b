"""What virtio devices and their transports know of each other (virtio 1.2, chapter 4)."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Transport"]


class Transport(Protocol):
    """What a device needs of the transport that carries it."""

    def queue_interrupt(self, index: int) -> None:
        """Queue ``index`` has used buffers that the driver wants to hear of."""

    def config_interrupt(self) -> None:
        """The configuration, or the status, has changed."""
