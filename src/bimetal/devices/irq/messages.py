"""Message-signalled interrupts, and where they arrive."""

from __future__ import annotations

from typing import NamedTuple, Protocol, cast

__all__ = ["Message", "TakesMessages", "taker"]


class Message(NamedTuple):
    """A message-signalled interrupt under way: the number of the function that sends it (bus,
    device, function; 0 for what is on no bus), the address and the word."""

    requester: int
    address: int
    data: int


class TakesMessages(Protocol):
    """A device to which others write their interrupts."""

    def take_message(self, requester: int, offset: int, word: int) -> None:
        """The function number ``requester`` (bus, device, function) writes ``word`` at
        ``offset``."""


def taker(device: object) -> TakesMessages | None:
    """``device`` if it takes messages. By name, because isinstance() with a protocol takes longer
    than all the rest of a message's way."""
    return cast(TakesMessages, device) if hasattr(device, "take_message") else None
