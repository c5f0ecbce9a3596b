"""Where message-signalled interrupts arrive."""

from __future__ import annotations

from typing import Protocol, cast

__all__ = ["TakesMessages", "taker"]


class TakesMessages(Protocol):
    """A device to which others write their interrupts."""

    def take_message(self, requester: int, offset: int, word: int) -> None:
        """The function number ``requester`` (bus, device, function) writes ``word`` at
        ``offset``."""


def taker(device: object) -> TakesMessages | None:
    """``device`` if it takes messages. By name, because isinstance() with a protocol takes longer
    than all the rest of a message's way."""
    return cast(TakesMessages, device) if hasattr(device, "take_message") else None
