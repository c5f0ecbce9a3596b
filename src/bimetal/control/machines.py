"""The machines of a user: defined ones, and those that run, each in a process of its own.

There is no daemon. What runs is told by leases, what is defined by files (see `places`). A list of
them has to be quick, so what only other uses need is imported late.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bimetal.backends.lease import Lease, await_release
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.near import did_you_mean
from bimetal.control.places import Places, write_whole

if TYPE_CHECKING:
    from uuid import UUID

    from bimetal.control.conversation import Conversation
    from bimetal.control.definition import Definition

__all__ = ["Known", "Machines"]

OFF = "shut off"
TERM_SECONDS, KILL_SECONDS = 15.0, 5.0
"""Seconds for a process to end when it is asked to, and when it is not asked."""

UUID_LENGTH = 36


@dataclass(frozen=True)
class Known:
    """A machine: its ``name``, the ``id`` of its run, or 0, and its ``state``, as people call it:
    running, paused, shut off, crashed. ``persistent`` ones are defined."""

    name: str
    id: int
    state: str
    persistent: bool
    reason: str = ""

    @property
    def runs(self) -> bool:
        """Whether there is a process for it."""
        return bool(self.id)


class Machines:
    """The machines in ``places``, those of the user if nothing else is said. Methods raise
    `BimetalError`. A machine is called by its name, its UUID, or the id of its run."""

    def __init__(self, places: Places | None = None):
        self.places = places or Places()

    # Looking

    def __iter__(self) -> Iterator[Known]:
        """All of them: those that run by id, then the others by name."""
        defined = set(self.places.defined())
        found = [self._known(name, name in defined) for name in {*defined, *self.places.known()}]
        there = [each for each in found if each.runs or each.persistent]
        return iter(sorted(there, key=lambda each: (not each.id, each.id, each.name)))

    def find(self, called: str) -> Known:
        """The machine that is called so."""
        name = self._name_of(called)
        persistent = self.places.definition(name).is_file()
        known = self._known(name, persistent)
        if not (known.runs or persistent):
            raise self._absent(called)
        return known

    def running(self, called: str) -> Known:
        """The machine that is called so, which has to run."""
        known = self.find(called)
        if not known.runs:
            raise BimetalError(
                f"domain is not running: {known.name}",
                f"start it: bimetal start {known.name}",
                ExitCode.UNAVAILABLE,
            )
        return known

    def state_of(self, name: str) -> dict[str, Any]:
        """What the process of a machine says of it."""
        return dict(self.places.state_of(name))

    def console_of(self, name: str) -> str:
        """Where the console of a machine that runs leads: the path of a terminal, or another place
        as the command line names it."""
        return str(self.state_of(name).get("console", ""))

    def talk(self, called: str) -> None:
        """Let a person at this terminal talk with the console of a machine, see `relay`."""
        known = self.running(called)
        lease = Lease.take(str(self.places.state(known.name) / "console"))
        if lease is None:
            raise BimetalError(
                f"somebody talks with the console of {known.name} already",
                "leave it there by Ctrl-]",
                ExitCode.UNAVAILABLE,
            )
        try:
            late("bimetal.backends.chars.relay:relay")(self.console_of(known.name))
        finally:
            lease.release()

    def xml(self, called: str, *, inactive: bool = False) -> str:
        """The definition of a machine, as XML: what it was started as if it runs, unless the
        ``inactive`` one is asked for."""
        known = self.find(called)
        if known.runs and not (inactive and known.persistent):
            text = _read(self.places.state(known.name) / "xml")
            with_run = late("bimetal.control.domain_xml.writing:with_run")
            return str(with_run(text, known.id, self.console_of(known.name)))
        return _read(self.places.definition(known.name))

    def definition(self, called: str, *, inactive: bool = False) -> Definition:
        """The definition of a machine."""
        found: Definition = _reader()(self.xml(called, inactive=inactive))
        return found

    # Defining

    def define(self, text: str | bytes) -> Definition:
        """Keep the definition in a document of XML or JSON, in place of an earlier one of that
        name."""
        text = self._as_xml(text)
        definition: Definition = _reader()(text)
        self._check_identity(definition)
        path = self.places.definition(definition.name)
        self.places.prepare(path.parent)
        write_whole(path, self._complete(text, definition))
        return definition

    def define_values(self, definition: Definition) -> Definition:
        """Keep a definition that was made in Python."""
        return self.define(late("bimetal.control.domain_xml.writing:write_definition")(definition))

    def undefine(self, called: str) -> Known:
        """Forget the definition of a machine. If it runs, it goes on, and is gone at its end."""
        known = self.find(called)
        if not known.persistent:
            raise BimetalError(
                f"{known.name} is transient: it has no definition",
                "it is gone when it ends: bimetal destroy",
                ExitCode.USAGE,
            )
        self.places.definition(known.name).unlink(missing_ok=True)
        if not known.runs:
            self._forget(known.name)
        return known

    # Running

    def start(self, called: str, *, paused: bool = False) -> Known:
        """Start a machine that is defined, and return when it runs."""
        known = self.find(called)
        if known.runs:
            raise BimetalError(
                f"domain is already running: {known.name}",
                "see it: bimetal list",
                ExitCode.UNAVAILABLE,
            )
        self._launch(known.name, _read(self.places.definition(known.name)), paused=paused)
        return self.find(known.name)

    def create(self, text: str | bytes, *, paused: bool = False) -> Known:
        """Start a machine of a definition that is not kept: it is gone when it ends."""
        text = self._as_xml(text)
        definition: Definition = _reader()(text)
        self._check_identity(definition)
        self._launch(definition.name, self._complete(text, definition), paused=paused)
        return self.find(definition.name)

    def restore(self, path: str, *, trust: bool = False, paused: bool = False) -> Known:
        """Go on with a machine that `save` has written to a file. With ``trust`` also with one that
        reaches folders, ports or sockets of the host."""
        where = os.path.abspath(path)
        machine: Any = late("bimetal.boards:Machine")
        text = machine.label_of(where)
        if not text:
            raise BimetalError(
                f"{path} is the snapshot of a machine without a definition",
                f"go on with it: bimetal run --restore {path}",
                ExitCode.DATA,
            )
        definition: Definition = _reader()(text)
        self._check_identity(definition)
        words = ["--restore", where, *["--trust"] * trust]
        self._launch(definition.name, text, *words, paused=paused)
        return self.find(definition.name)

    def ask(self, called: str, command: str, **arguments: Any) -> Any:
        """Have a machine that runs carry out a command of QMP; what it returns."""
        with self.conversation(called) as conversation:
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

    def save(self, called: str, path: str) -> Known:
        """Save a machine that runs to a file, and end it."""
        known = self.running(called)
        self.ask(called, "bimetal-save", filename=os.path.abspath(path), stop=True)
        self._await_end(known.name, TERM_SECONDS)
        return known

    def destroy(self, called: str, *, graceful: bool = False) -> Known:
        """End the process of a machine: by SIGTERM, and, unless it is to be ``graceful``, by
        SIGKILL if that does not help."""
        known = self.running(called)
        for number, seconds in ((signal.SIGTERM, TERM_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
            pid = self.places.pid(known.name)
            if not pid:
                return known
            if number is signal.SIGKILL and graceful:
                break
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            if self._await_end(known.name, seconds):
                return known
        raise BimetalError(
            f"the process of {known.name} does not end",
            "the host keeps it, perhaps in a file that it cannot read or write",
            ExitCode.UNAVAILABLE,
        )

    # Parts of these

    def _known(self, name: str, persistent: bool) -> Known:
        pid = self.places.pid(name)
        state = self.places.state_of(name)
        if pid and state.get("pid") == pid:
            return Known(name, int(state["id"]), str(state["state"]), persistent, _reason(state))
        if pid:  # it has only just begun, or its file is damaged
            return Known(name, pid, "no state", persistent)
        ended = state.get("state") == OFF
        reason = _reason(state) if ended else "crashed" if state else "unknown"
        return Known(name, 0, OFF, persistent, reason)

    def _name_of(self, called: str) -> str:
        if called.isdecimal():
            for each in self:
                if each.runs and each.id == int(called[:18]):
                    return each.name
            raise self._absent(called)
        if len(called) == UUID_LENGTH and not self.places.definition(called).is_file():
            with suppress(ValueError):
                return self._by_uuid(late("uuid:UUID")(called)) or called
        return called

    def _by_uuid(self, uuid: UUID) -> str:
        """The name of the machine with that identity, "" if there is none."""
        for each in self:
            with suppress(BimetalError):
                if self.definition(each.name, inactive=True).uuid == uuid:
                    return each.name
        return ""

    def _absent(self, called: str) -> BimetalError:
        names = [each.name for each in self]
        return BimetalError(
            f"failed to get domain {called[:80]!r}",
            did_you_mean(called[:80], names) or "see which there are: bimetal list --all",
            ExitCode.NO_INPUT,
        )

    def _check_identity(self, definition: Definition) -> None:
        """Raise `BimetalError` if another machine has the name or the UUID of this one."""
        other = self._by_uuid(definition.uuid)
        if other and other != definition.name:
            raise BimetalError(
                f"domain {other!r} is already defined with uuid {definition.uuid}",
                "leave <uuid> away: it gets its own",
                ExitCode.USAGE,
            )
        path = self.places.definition(definition.name)
        if path.is_file():
            there = self.definition(definition.name, inactive=True)
            if there.uuid != definition.uuid:
                raise BimetalError(
                    f"domain {definition.name!r} already exists with uuid {there.uuid}",
                    "give it another name, or that uuid to define it anew",
                    ExitCode.USAGE,
                )

    def _as_xml(self, text: str | bytes) -> str | bytes:
        """A document of XML, whatever the given one is."""
        if text[:100].lstrip()[:1] not in ("{", b"{"):
            return text
        definition = late("bimetal.control.json_form:read_json")(text)
        return str(late("bimetal.control.domain_xml.writing:write_definition")(definition))

    def _complete(self, text: str | bytes, definition: Definition) -> str:
        """The document as it was written, with the UUID that it got if it has none."""
        parse = late("bimetal.control.domain_xml.parsing:parse")
        root = parse(text, "domain")
        root.attrib.pop("id", None)
        if root.find("uuid") is None:
            name = root.find("name")
            made = name.makeelement("uuid")
            made.text = str(definition.uuid)
            name.addnext(made)
        return str(late("bimetal.control.domain_xml.writing:document")(root))

    def _launch(self, name: str, text: str, *words: str, paused: bool) -> None:
        folder = self.places.state(name)
        self.places.prepare(folder)
        late("bimetal.control.launching:launch")(
            text, folder / "log", [*words, *["--paused"] * paused]
        )

    def _await_end(self, name: str, seconds: float) -> bool:
        return await_release(self.places.lease(name), seconds)

    def _forget(self, name: str) -> None:
        """Remove what is known of a machine that does not run."""
        folder = self.places.state(name)
        with suppress(OSError):
            lease = Lease.take(self.places.lease(name))
            if lease is not None:
                late("shutil:rmtree")(folder, ignore_errors=True)
                lease.release()


def _reason(state: Any) -> str:
    return str(state.get("reason", "unknown"))


def _reader() -> Any:
    return late("bimetal.control.domain_xml.reading:read_definition")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise BimetalError(
            f"{path} cannot be read: {error.strerror}",
            "check its permissions",
            ExitCode.NO_INPUT,
        ) from error
