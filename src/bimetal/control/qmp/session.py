"""A conversation with one client, from the greeting on.

Everything here happens in the thread of the server, but for commands, which a thread of the
session's own carries out one after the other: what takes long delays neither other clients nor
events, and commands that wait for nothing may overtake it (``exec-oob``).
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from bimetal.backends.clients import Client
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.log import logger
from bimetal.base.threads import EndingThread
from bimetal.control.commands import MACHINE
from bimetal.control.contract import read_arguments
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.handed import handing
from bimetal.control.managed import Managed
from bimetal.control.qmp.framing import Framer, Malformed
from bimetal.control.qmp.messages import (
    NO_ID,
    Request,
    Unreadable,
    failure,
    greeting,
    read_request,
    success,
)

__all__ = ["Session"]

AT_ONCE = 8
"""Commands of a client that may wait for their turn; what it sends then is read later."""

BEHIND_LIMIT = 1 << 18
"""Bytes of answers that a client may be behind with before its next command is carried out."""

LOST_LIMIT = 4 << 20
"""Bytes, of events too, with which a client is given up that does not read."""

NEGOTIATION = "qmp_capabilities"


class Session:
    """Talks with ``client`` about ``vm``. ``soon`` has a function called in the server's thread."""

    def __init__(self, vm: Managed, client: Client, soon: Callable[[Callable[[], None]], None]):
        self._vm, self._client, self._soon = vm, client, soon
        self._framer = Framer()
        self._work = SimpleQueue[Request | None]()
        self._waiting = 0
        self._doomed = False
        self._oob = False
        self.negotiated = False
        """Whether it is to be told of events."""
        self._thread = EndingThread(self._carry_out, "qmp")
        client.on_data, client.on_sent = self._heard, self._look
        client.on_end = self._gone
        self._thread.start()
        client.write(greeting())

    @property
    def settled(self) -> bool:
        """Whether every command has its answer, and the client has taken all that it was sent."""
        return not self._waiting and not self._client.waiting

    def dismiss(self) -> None:
        """Take up nothing more."""
        self._doomed = True
        self._client.listening = False

    def tell(self, message: bytes) -> None:
        """Send an event, once the client has said that it is ready."""
        if self.negotiated:
            self._send(message)

    def _heard(self, data: bytes) -> None:
        self._framer.add(data)
        self._look()

    def _look(self) -> None:
        """Take up what the client has sent, as far as it is its turn."""
        while not self._client.closed and not self._doomed:
            busy = self._waiting >= AT_ONCE or self._client.waiting > BEHIND_LIMIT
            self._client.listening = not busy
            message = None if busy else self._framer.next()
            match message:
                case None:
                    return
                case Malformed(why=why, fatal=fatal):
                    self._send(failure(Unreadable(why), NO_ID))
                    if fatal:
                        self._give_up()
                case _:
                    self._take(message)

    def _give_up(self) -> None:
        """Close the connection once the last answer is on its way."""
        self.dismiss()
        self._client.on_sent = self._client.close

    def _take(self, message: bytes) -> None:
        try:
            request = read_request(message, self._client.take_descriptors())
        except Unreadable as error:
            self._send(failure(error, error.id))
            return
        if not self.negotiated:
            self._send(self._answer(request, self._negotiate))
        elif request.out_of_band:
            self._send(self._answer(request, self._overtake))
        else:
            self._waiting += 1
            self._work.put(request)

    def _negotiate(self, request: Request) -> Any:
        if request.command != NEGOTIATION or request.out_of_band:
            raise CommandFailed(
                ErrorClass.COMMAND_NOT_FOUND,
                f"{request.command[:80]!r} comes too early",
                f"begin with {NEGOTIATION}",
                ExitCode.USAGE,
            )
        wanted = read_arguments(MACHINE[NEGOTIATION], request.arguments)
        self._oob = "oob" in wanted["enable"]
        self.negotiated = True

    def _overtake(self, request: Request) -> Any:
        if not self._oob:
            raise CommandFailed(
                ErrorClass.GENERIC,
                "exec-oob was not negotiated",
                f"switch it on: {NEGOTIATION} with enable=[oob]",
                ExitCode.USAGE,
            )
        if not MACHINE[request.command].out_of_band:
            raise CommandFailed(
                ErrorClass.GENERIC,
                f"{request.command} waits for its turn",
                "write execute",
                ExitCode.USAGE,
            )
        return self._call(request)

    def _call(self, request: Request) -> Any:
        with handing(request.descriptors):
            command = MACHINE[request.command]
            return command.function(self._vm, **read_arguments(command, request.arguments))

    def _answer(self, request: Request, act: Callable[[Request], Any]) -> bytes:
        """Carry out a request by ``act``; the answer."""
        try:
            return success(act(request), request.id)
        except BimetalError as error:
            return failure(error, request.id)
        except Exception as error:  # a defect of ours ends neither the machine nor the conversation
            logger("qmp").exception("the command %s failed", request.command)
            return failure(
                BimetalError(f"{request.command} failed: {type(error).__name__}: {error}"),
                request.id,
            )

    def _carry_out(self) -> None:
        """The thread of the session."""
        while (request := self._work.get()) is not None:
            answer = self._answer(request, self._call)
            self._vm.settle()
            self._soon(lambda answer=answer: self._answered(answer))  # type: ignore[misc]

    def _answered(self, answer: bytes) -> None:
        self._waiting -= 1
        self._send(answer)
        self._look()

    def _send(self, message: bytes) -> None:
        self._client.write(message)
        if self._client.waiting > LOST_LIMIT:
            self._client.close()

    def _gone(self) -> None:
        self._work.put(None)
