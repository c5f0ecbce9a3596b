"""Where message-signalled interrupts arrive."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["TakesMessages"]


@runtime_checkable
class TakesMessages(Protocol):
    """A device to which others write their interrupts."""

    def take_message(self, requester: int, offset: int, word: int) -> None:
        """The function number ``requester`` (bus, device, function) writes ``word`` at
        ``offset``."""
