"""The simplest client of QMP: a socket, and a line for each message."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Self

__all__ = ["Talker"]

LIMIT = 20


class Talker:
    """A connection to the socket at ``path``. ``events`` are those that came before answers."""

    def __init__(self, path: Path | str, *, negotiate: bool = True, oob: bool = False):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))  # which, with a time limit, would not wait for its turn
        self.socket.settimeout(LIMIT)
        self._lines = self.socket.makefile("rb")
        self.events: list[dict[str, Any]] = []
        self.greeting = self.next()
        if negotiate:
            enable = ["oob"] if oob else []
            assert self.ask("qmp_capabilities", enable=enable) == {"return": {}}

    def send(self, data: bytes | str) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def next(self) -> dict[str, Any]:
        """The next message. EOFError at the end of the connection."""
        line = self._lines.readline()
        if not line:
            raise EOFError
        message: dict[str, Any] = json.loads(line)
        return message

    def answer(self) -> dict[str, Any]:
        """The next message that is no event."""
        while "event" in (message := self.next()):
            self.events.append(message)
        return message

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a command, whose arguments have underscores for hyphens; the answer."""
        given = {name.replace("_", "-"): value for name, value in arguments.items()}
        self.send(json.dumps({"execute": command, "arguments": given}))
        return self.answer()

    def value(self, command: str, **arguments: Any) -> Any:
        """What a command returns."""
        answer = self.ask(command, **arguments)
        assert "return" in answer, answer
        return answer["return"]

    def refused(self, command: str, **arguments: Any) -> tuple[str, str]:
        """Class and description of the error that a command ends in."""
        answer = self.ask(command, **arguments)
        assert "error" in answer, answer
        return answer["error"]["class"], answer["error"]["desc"]

    def event(self, name: str) -> dict[str, Any]:
        """The next event of that name."""
        while True:
            event = self.events.pop(0) if self.events else self.next()
            if event.get("event") == name:
                return event

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
