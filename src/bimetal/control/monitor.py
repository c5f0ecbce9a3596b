"""The server through which programs control a machine: QMP, at any number of places."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from bimetal.backends.clients import Client, Doors, open_doors
from bimetal.backends.reactor import Reactor
from bimetal.base.clock import Countdown, wall_nanoseconds
from bimetal.base.closes import Closes
from bimetal.base.late import LateModule
from bimetal.base.threads import EndingThread
from bimetal.control.events import Event, ShutdownCause
from bimetal.control.managed import Managed

if TYPE_CHECKING:
    from bimetal.control import commands, contract, person
    from bimetal.control.person import Person
    from bimetal.control.qmp import messages, session
    from bimetal.control.qmp.session import Session
    from bimetal.machine.machine import Machine
else:  # what only clients need
    commands = LateModule("bimetal.control.commands")
    contract = LateModule("bimetal.control.contract")
    messages = LateModule("bimetal.control.qmp.messages")
    person = LateModule("bimetal.control.person")
    session = LateModule("bimetal.control.qmp.session")

__all__ = ["Monitor"]

LAST_WORDS = 2.0
"""Seconds that the end of the server waits for clients to take what they were sent."""

THROTTLED = {"BALLOON_CHANGE": 1_000_000_000, "RTC_CHANGE": 1_000_000_000}
"""Events that a guest can cause in any number, and nanoseconds between two that are told."""


class Monitor(Closes):
    """Serves ``machine`` at ``places``: ``unix:PATH``, ``tcp:HOST:PORT`` or ``stdio``, with
    QEMU's words (``unix:PATH,server=on,wait=off``). A context manager; several clients may be there
    at the same time. ``name`` and ``uuid`` are what they are told of the machine. Without a machine
    they may ask what there is. At the places ``people`` it is people who type, in words.

    Raises `BimetalError` for places that cannot be had.
    """

    def __init__(
        self,
        machine: Machine | None,
        places: str | Iterable[str] = (),
        *,
        people: Iterable[str] = (),
        name: str = "",
        **identity: Any,
    ):
        self.vm = Managed(machine, name, **identity)
        self._stack = ExitStack()
        self._reactor = Reactor()
        self._sessions: dict[Client, Session | Person] = {}
        self._doors: list[Doors] = []
        self._for_people: list[Doors] = []
        self._arrived = threading.Event()
        self._throttled: dict[str, Event] = {}
        self._thread = EndingThread(self._reactor.run, "monitor")
        self._open = False
        with self._stack as stack:
            stack.callback(self._reactor.close)
            for place in [places] if isinstance(places, str) else places:
                doors = open_doors(place)
                stack.callback(doors.close)
                self._doors.append(doors)
            for place in people:
                doors = open_doors(place)
                stack.callback(doors.close)
                self._for_people.append(doors)
            self._stack = stack.pop_all()

    @property
    def places(self) -> list[str]:
        """Where clients find it, with the ports that were chosen."""
        return [doors.where for doors in self._doors]

    def start(self) -> None:
        """Let clients in."""
        self._open = True
        self._stack.enter_context(self.vm.watched())
        self.vm.on_event.add(self._happened)
        for doors in self._doors:
            doors.attach(self._reactor, partial(self._greet, lambda: session.Session))
        for doors in self._for_people:
            doors.attach(self._reactor, partial(self._greet, lambda: person.Person))
        self._thread.start()

    def wait_for_client(self) -> None:
        """If a place was opened with ``wait=on``, return when a client is there."""
        if any(doors.waits for doors in [*self._doors, *self._for_people]):
            self._arrived.wait()

    def execute(self, command: str, **arguments: Any) -> Any:
        """Carry out a command as a client would have it carried out: ``arguments`` and the result
        are as in JSON, with underscores in names of arguments. Raises `BimetalError`."""
        found = commands.MACHINE[command]
        external = {each.name: each.external for each in found.parameters}
        given = {external.get(name, name): value for name, value in arguments.items()}
        arguments = contract.read_arguments(found, given)
        return contract.plain(found.function(self.vm, **arguments))

    def signalled(self) -> None:
        """A signal is about to end the run: clients are told so."""
        self.vm.cause = ShutdownCause.HOST_SIGNAL

    def close(self) -> None:
        """Tell clients what is still to be told, and let them go. Idempotent."""
        if self._open:
            self._open = False
            self.vm.on_event.remove(self._happened)
            self._reactor.call(self._say_goodbye)
            self._thread.ended(LAST_WORDS + 1)
        self._stack.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def _greet(self, kind: Callable[[], type[Session | Person]], client: Client) -> None:
        talk = kind()(self.vm, client, self._reactor.call)
        leave = client.on_end

        def gone() -> None:
            leave()
            self._sessions.pop(client, None)

        client.on_end = gone
        self._sessions[client] = talk
        self._arrived.set()

    def _happened(self, event: Event) -> None:
        """Something has happened; any thread, which does not wait here."""
        now = wall_nanoseconds()
        if event.name not in THROTTLED:
            self._reactor.call(partial(self._broadcast, event, now))
            return
        news = event.name not in self._throttled
        self._throttled[event.name] = event
        if news:
            self._reactor.call(partial(self._tell_throttled, event.name))

    def _tell_throttled(self, name: str) -> None:
        """Tell the newest event of that name, and then none for a while."""
        event = self._throttled[name]
        self._broadcast(event, wall_nanoseconds())

        def again() -> None:
            if self._throttled[name] is event:
                del self._throttled[name]
            else:
                self._tell_throttled(name)

        clock = self._reactor.clock
        clock.timer(again).arm(clock.now_ns() + THROTTLED[name])

    def _broadcast(self, event: Event, nanoseconds: int) -> None:
        talks = [*self._sessions.values()]
        message = messages.told(event, nanoseconds) if talks else b""
        for talk in talks:
            talk.tell(message)

    def _say_goodbye(self) -> None:
        """Let nobody in any more, and end when all have taken what they were sent."""
        for doors in [*self._doors, *self._for_people]:
            doors.close()
        countdown = Countdown(LAST_WORDS)
        for talk in self._sessions.values():
            talk.dismiss()

        def look() -> None:
            if countdown.left and not all(each.settled for each in self._sessions.values()):
                clock = self._reactor.clock
                clock.timer(look).arm(clock.now_ns() + 5_000_000)
                return
            for client in [*self._sessions]:
                client.close()
            self._reactor.stop()

        look()
