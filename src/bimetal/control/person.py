"""A conversation with a person at the monitor: a prompt, a line, what it prints.

As with programs (`bimetal.control.qmp.session`), everything happens in the thread of the server,
but for the commands, which a thread of the conversation's own carries out one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue

from bimetal.backends.clients import Client
from bimetal.base.log import logger
from bimetal.base.threads import EndingThread
from bimetal.control.commands.human import human_monitor_command
from bimetal.control.managed import Managed
from bimetal.control.version import package

__all__ = ["Person"]

PROMPT = "(bimetal) "
LINE_LIMIT = 1 << 12
"""Bytes of a line; whoever sends a longer one is no person."""


class Person:
    """Talks with ``client`` about ``vm``. ``soon`` has a function called in the server's thread."""

    def __init__(self, vm: Managed, client: Client, soon: Callable[[Callable[[], None]], None]):
        self._vm, self._client, self._soon = vm, client, soon
        self._buffer = bytearray()
        self._lines = SimpleQueue[str | None]()
        self._busy = self._doomed = False
        self._thread = EndingThread(self._carry_out, "words")
        client.on_data, client.on_end = self._heard, self._gone
        self._thread.start()
        self._say(f"{package()}, 'help' lists the words\r\n{PROMPT}")

    @property
    def settled(self) -> bool:
        """Whether what was asked is answered, and all that was said is on its way."""
        return not self._busy and not self._client.waiting

    def dismiss(self) -> None:
        """Take up nothing more."""
        self._doomed = True
        self._client.listening = False

    def tell(self, message: bytes) -> None:
        """People are not told of events."""

    def _heard(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > LINE_LIMIT and b"\n" not in self._buffer:
            self._client.close()
            return
        self._look()

    def _look(self) -> None:
        """Take up the next line, if it is its turn."""
        end = self._buffer.find(b"\n")
        if end < 0 or self._busy or self._doomed:
            return
        line = self._buffer[:end].decode(errors="replace").strip()
        del self._buffer[: end + 1]
        self._busy = True
        self._client.listening = False
        self._lines.put(line)

    def _carry_out(self) -> None:
        """The thread of the conversation."""
        while (line := self._lines.get()) is not None:
            try:
                said = human_monitor_command(self._vm, line)
            except Exception as error:  # a defect of ours ends neither the machine nor this
                logger("monitor").exception("%r failed", line)
                said = f"Error: {type(error).__name__}: {error}\n"
            self._vm.settle()
            self._soon(lambda said=said: self._answered(said))  # type: ignore[misc]

    def _answered(self, said: str) -> None:
        self._busy = False
        self._client.listening = not self._doomed
        self._say(said.replace("\n", "\r\n") + PROMPT)
        self._look()

    def _say(self, text: str) -> None:
        self._client.write(text.encode(errors="replace"))

    def _gone(self) -> None:
        self._lines.put(None)
