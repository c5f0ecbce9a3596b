"""A conversation with a machine that runs in a process of its own, by QMP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bimetal.backends.dial import dial_unix
from bimetal.base.clock import Countdown
from bimetal.base.closes import Closes
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.control.failures import ErrorClass

__all__ = ["Conversation", "Refusal"]

PATIENCE = 60.0
"""Seconds for an answer."""

LONGEST = 1e6
"""Seconds that a socket can be told to wait."""

ANSWER_LIMIT = 16 << 20
"""Bytes of an answer."""


class Refusal(BimetalError):
    """The machine has answered that it has not done what it was told to. Of any other error nobody
    knows whether it has."""


class Conversation(Closes):
    """With the machine called ``name`` that listens at ``path``. A context manager. Raises
    `BimetalError` if it does not listen, and `Refusal` if it answers with an error."""

    def __init__(self, path: str, name: str, seconds: float = PATIENCE):
        self._name = name
        self._events: list[dict[str, Any]] = []
        try:
            self._socket = dial_unix(path, min(seconds, PATIENCE))
        except OSError as error:
            raise self._mute(error) from error
        self._lines = self._socket.makefile("rb")
        try:
            self.ask("qmp_capabilities")
            self._socket.settimeout(seconds)
        except BaseException:
            self.close()
            raise

    def ask(self, command: str, **arguments: Any) -> Any:
        """What a command returns; underscores in names of arguments stand for hyphens."""
        given = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            self._socket.sendall(json.dumps({"execute": command, "arguments": given}).encode())
            while True:
                message = self._message()
                if "event" in message:
                    self._events.append(message)
                if "return" in message:
                    return message["return"]
                if "error" in message:
                    raise self._refusal(command, given, message["error"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise self._mute(error) from error

    def _refusal(self, command: str, given: dict[str, Any], error: dict[str, Any]) -> Refusal:
        """What the machine's error means. If it does not know what is well known here, its process
        is from before an upgrade."""
        told = str(error["desc"])
        strange = error.get("class") == ErrorClass.COMMAND_NOT_FOUND
        strange = strange or told.startswith(f"arguments of {command}:")
        if strange and _is_known(command, given):
            return Refusal(
                f"the process of {self._name} is of another version of Bimetal than this command, "
                f"and does not know what was asked for ({command})",
                f"restart the machine: bimetal shutdown {self._name}, bimetal start {self._name}",
                ExitCode.UNAVAILABLE,
            )
        return Refusal(told, "", ExitCode.UNAVAILABLE)

    def events(self, seconds: float) -> Iterator[dict[str, Any]]:
        """What happens to the machine, until it is gone, or none has come for so many seconds."""
        countdown = Countdown(seconds)
        while countdown.left:
            told = self._events.pop(0) if self._events else None
            if told is None:
                self._socket.settimeout(min(countdown.left, LONGEST))
                try:
                    line = self._lines.readline(ANSWER_LIMIT)
                except TimeoutError:
                    return
                except OSError as error:
                    raise self._mute(error) from error
                if not line:
                    return
                told = json.loads(line)
            yield told

    def wait_for(self, event: str, seconds: float, **data: Any) -> bool:
        """Wait for an event that carries such ``data``; False if it has not come for so many
        seconds."""
        countdown = Countdown(seconds)
        try:
            while countdown.left:
                told = self._events.pop(0) if self._events else None
                if told is None:
                    self._socket.settimeout(countdown.left)
                    told = self._message()
                if told.get("event") == event and data.items() <= told.get("data", {}).items():
                    return True
        except TimeoutError:
            return False
        except (OSError, ValueError, TypeError) as error:
            raise self._mute(error) from error
        return False

    def _message(self) -> dict[str, Any]:
        """The next message. Raises OSError when there is no more."""
        line = self._lines.readline(ANSWER_LIMIT)
        if not line:
            raise ConnectionResetError("it has hung up")
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """Hang up. Idempotent."""
        self._lines.close()
        self._socket.close()

    def _mute(self, error: Exception) -> BimetalError:
        if isinstance(error, ConnectionError | FileNotFoundError):  # its socket goes first
            return BimetalError(
                f"the process of {self._name} has ended, or does not listen",
                "see: bimetal domstate --reason",
                ExitCode.UNAVAILABLE,
            )
        return BimetalError(
            f"the process of {self._name} does not answer: {error}",
            "wait, or end it: bimetal destroy",
            ExitCode.UNAVAILABLE,
        )


def _is_known(command: str, given: dict[str, Any]) -> bool:
    """Whether a machine of this version takes a command with such arguments."""
    known: Any = late("bimetal.control.commands:MACHINE")
    if command not in known:
        return False
    try:
        late("bimetal.control.contract:read_arguments")(known[command], given)
    except BimetalError:
        return False
    return True
