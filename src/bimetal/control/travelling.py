"""A client watches a machine that moves to another process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event
from typing import TYPE_CHECKING, Any

from bimetal.base.errors import BimetalError, ExitCode

if TYPE_CHECKING:
    from bimetal.control.conversation import Conversation

__all__ = ["follow"]

EVERY = 0.2
"""Seconds between two questions."""

OVER = ("completed", "failed", "cancelled")


def follow(talk: Conversation, tell: Callable[[Mapping[str, Any]], None]) -> None:
    """Return once the machine is there. ``tell`` is given what is known of it meanwhile. Whatever
    interrupts this cancels the move. Raises `BimetalError` if it does not go there."""
    told: Mapping[str, Any] = {}
    clock = Event()
    try:
        while (told := talk.ask("query-migrate")).get("status") not in OVER:
            tell(told)
            clock.wait(EVERY)
    except BaseException:
        talk.ask("migrate_cancel")
        raise
    tell(told)
    if told.get("status") != "completed":
        raise BimetalError(
            f"the machine goes on here: {told.get('error-desc', 'its move was cancelled')}",
            "",
            ExitCode.UNAVAILABLE,
        )
