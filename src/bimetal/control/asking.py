"""Machines that run are asked for something, by QMP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.control.known import KnownMachines

if TYPE_CHECKING:
    from bimetal.control.conversation import Conversation

__all__ = ["AskedMachines"]

FOR_EVER = 1e6
"""Seconds that are more than anybody waits."""


class AskedMachines(KnownMachines):
    """They carry out commands. Methods raise `BimetalError`."""

    def ask(self, called: str, command: str, **arguments: Any) -> Any:
        """Have a machine that runs carry out a command of QMP; what it returns."""
        with self.conversation(called) as conversation:
            return conversation.ask(command, **arguments)

    def ask_patiently(self, called: str, command: str, **arguments: Any) -> Any:
        """The same, of a command that takes as long as the host's disk does."""
        with self.conversation(called, FOR_EVER) as conversation:
            return conversation.ask(command, **arguments)

    def conversation(self, called: str, *seconds: float) -> Conversation:
        """A conversation by QMP with a machine that runs, whose answers come within so many
        ``seconds``, or within the usual time."""
        known = self.running(called)
        socket = str(self.state_of(known.name).get("socket", ""))
        begun: Conversation = late("bimetal.control.conversation:Conversation")(
            socket, known.name, *seconds
        )
        return begun

    def say(self, called: str, message: str) -> Any:
        """Have a machine that runs carry out a command in the words of QMP, which may be its name
        alone; what it returns."""
        command, arguments = message, dict[str, Any]()
        if message.lstrip().startswith("{"):
            try:
                asked = json.loads(message)
                command, arguments = asked["execute"], asked.get("arguments", {})
            except (ValueError, KeyError, AttributeError, RecursionError) as error:
                raise BimetalError(
                    f"{message[:80]!r} is no command", 'write {"execute": "..."}', ExitCode.USAGE
                ) from error
        return self.ask(called, command, **arguments)
