"""The machines of a user: defined ones, and those that run, each in a process of its own.

There is no daemon. What runs is told by leases, what is defined by files (see `places`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

from bimetal.backends.lease import Lease, await_release, end_process
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.control.asking import AskedMachines
from bimetal.control.known import Known
from bimetal.control.places import write_whole

if TYPE_CHECKING:
    from bimetal.control.definition import Definition

__all__ = ["Machines"]

TERM_SECONDS, KILL_SECONDS = 15.0, 5.0
"""Seconds for a process to end when it is asked to, and when it is not asked."""


class Machines(AskedMachines):
    """They can be defined, started and ended, too."""

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

    # Defining

    def define(self, text: str | bytes) -> Definition:
        """Keep the definition in a document of XML or JSON, in place of an earlier one of that
        name."""
        with self._turn():
            return self._define(text)

    def _define(self, text: str | bytes) -> Definition:
        text = self._as_xml(text)
        definition: Definition = self._read_definition(text)
        self._check_identity(definition)
        late("bimetal.control.known_boards:check_cpus")(definition.board, definition.cpus)
        path = self.places.definition(definition.name)
        is_new = not path.is_file()
        write_whole(path, self._complete(text, definition))
        if not self.places.pid(definition.name):  # or else its disks may still go on to others
            self.places.moves(definition.name).unlink(missing_ok=True)
            if is_new:
                self._forget_another(definition.name)
        return definition

    def define_values(self, definition: Definition) -> Definition:
        """Keep a definition that was made in Python."""
        return self.define(late("bimetal.control.domain_xml.writing:write_definition")(definition))

    def define_in_place(self, name: str, before: str, text: str) -> Definition:
        """Keep the definition in a document in place of the one that says ``before`` now, of the
        machine called ``name``. Raises `BimetalError` if it is another's, or was changed
        meanwhile."""
        definition = self._read_definition(text)
        if definition.name != name:
            raise BimetalError(
                f"the name {name!r} has become {definition.name!r}",
                "rename it: bimetal domrename",
                ExitCode.USAGE,
            )
        with self._turn():
            if self._definition_text(name) != before:
                raise BimetalError(
                    "the XML configuration was changed by another client",
                    "begin again with that",
                    ExitCode.UNAVAILABLE,
                )
            return self._define(text)

    def change(self, called: str, change: Callable[[str], str]) -> Known:
        """Define a machine anew by what ``change`` makes of its document; for its next start."""
        with self._turn():
            known = self.defined(called)
            self._define(change(self._definition_text(known.name)))
        return known

    def rename(self, called: str, name: str) -> Known:
        """Call a machine otherwise that does not run. Raises `BimetalError`."""
        with self._turn():
            return self._rename(called, name)

    def _rename(self, called: str, name: str) -> Known:
        known = self.defined(called)
        new = self.places.definition(name)
        wrong = ""
        if known.runs:
            wrong = "cannot rename active domain"
        elif known.saved:
            wrong = "cannot rename domain with a managed save image"
        elif new.is_file() or any(each.name == name for each in self):
            wrong = f"domain with name {name!r} already exists"
        if wrong:
            raise BimetalError(
                f"Requested operation is not valid: {wrong}", "", ExitCode.UNAVAILABLE
            )
        units = late("bimetal.control.autostart:Units")()
        starts = units.starts(known.name)
        self._forget_another(name)
        self.places.definition(known.name).rename(new)  # from now on it has that name
        try:
            write_whole(new, self._definition_text(name))
        except BaseException:
            new.rename(self.places.definition(known.name))
            raise
        if starts:
            units.enable(name)
            units.disable(known.name)
        for kept in (self.places.descriptions, self.places.checkpoints):
            with suppress(FileNotFoundError):
                self.places.prepare(self.places.state(name))
                kept(known.name).rename(kept(name))
        self._forget(known.name)
        return self.find(name)

    def undefine(self, called: str) -> Known:
        """Forget the definition of a machine. If it runs, it goes on, and is gone at its end."""
        known = self.defined(called)
        late("bimetal.control.autostart:Units")().disable(known.name)
        self.places.definition(known.name).unlink(missing_ok=True)
        if not known.runs:
            self._forget(known.name)
        return known

    # Running

    def start(
        self,
        called: str,
        *,
        paused: bool = False,
        anew: bool = False,
        sandbox: bool = True,
        incoming: str = "",
    ) -> Known:
        """Start a machine that is defined, and return when it runs. If it was saved in its own
        place (`saved` in `Places`), it goes on where it was, unless it is to start ``anew``.
        Its process confines itself, unless the ``sandbox`` is not wanted. With ``incoming`` it is
        the one that somebody sends there, see `migrate`."""
        known = self.find(called)
        if known.runs:
            raise BimetalError(
                f"domain is already running: {known.name}",
                "see it: bimetal list",
                ExitCode.UNAVAILABLE,
            )
        if known.saved and not (anew or incoming):
            words = ["--once", "--trust", *_more(paused, sandbox)]
            return self._go_on(str(self.places.saved(known.name)), *words)
        text = self._definition_text(known.name)
        way = ["--incoming", incoming] if incoming else []
        self._launch(known.name, text, *["--anew"] * anew, *way, *_more(paused, sandbox))
        return self.find(known.name)

    def create(self, text: str | bytes, *, paused: bool = False, sandbox: bool = True) -> Known:
        """Start a machine of a definition that is not kept: it is gone when it ends."""
        text = self._as_xml(text)
        definition: Definition = self._read_definition(text)
        self._check_identity(definition)
        late("bimetal.control.known_boards:check_cpus")(definition.board, definition.cpus)
        words = _more(paused, sandbox)
        self._launch(definition.name, self._complete(text, definition), *words)
        return self.find(definition.name)

    def restore(
        self, path: str, *, trust: bool = False, paused: bool = False, sandbox: bool = True
    ) -> Known:
        """Go on with a machine that `save` has written to a file. With ``trust`` also with one that
        reaches folders, ports or sockets of the host."""
        words = [*["--trust"] * trust, *_more(paused, sandbox)]
        return self._go_on(os.path.abspath(path), *words)

    def _go_on(self, where: str, *words: str) -> Known:
        machine: Any = late("bimetal.machine.machine:Machine")
        text = machine.label_of(where)
        if not text:
            raise BimetalError(
                f"{where} is the snapshot of a machine without a definition",
                f"go on with it: bimetal run --restore {where}",
                ExitCode.DATA,
            )
        definition: Definition = self._read_definition(text)
        self._check_identity(definition)
        self._launch(definition.name, text, "--restore", where, *words)
        return self.find(definition.name)

    def hand_in(
        self,
        called: str,
        path: str,
        *,
        readonly: bool,
        format: str | None = None,
        alone: bool = False,
    ) -> None:
        """Hand an image, with those that it lies on unless it is wanted ``alone``, in to the
        process of a machine, which may be confined and not reach it. Raises `BimetalError`."""
        state = self.state_of(self.running(called).name)
        if not state.get("sandbox"):
            return
        chain = late("bimetal.images:chain")
        below = [] if alone else chain(path, format=format, shared=True)[1:]
        files = [(path, readonly), *((each.path, True) for each in below)]
        try:
            place = os.path.join(os.path.dirname(str(state["socket"])), "intake")
            late("bimetal.backends.handing:hand_in")(place, files)
        except OSError as error:
            raise BimetalError(
                f"{path} cannot be handed in to the machine: {error.strerror or error}",
                "check the path and its permissions",
                ExitCode.NO_INPUT,
            ) from error

    def save(self, called: str, path: str) -> Known:
        """Save a machine that runs to a file, and end it. If this client is killed meanwhile, or
        the file cannot be written, the next start of the machine goes on with its state."""
        known = self.running(called)
        target = os.path.abspath(path)
        late("bimetal.control.handing:check_target")(target)
        own = self.places.state(known.name)
        saved = self.places.saved(known.name) if known.persistent else own / "outgoing"
        draft = target if target.startswith(f"{own}/") else str(saved)
        # Its process reaches no other place.
        self.ask_patiently(called, "bimetal-save", filename=draft, stop=True)
        self.await_end(known.name, TERM_SECONDS)
        if draft != target:
            late("bimetal.control.handing:hand_out")(draft, target)
        return known

    def migrate(
        self,
        called: str,
        place: str,
        *,
        tell: Callable[[Mapping[str, Any]], None],
        bandwidth: int = 0,
        downtime: int = 300,
    ) -> Known:
        """Have a machine go on where somebody waits for it (`start` with ``incoming``), while it
        runs, with so many bytes a second, 0 for as many as there can be, and at most so many
        milliseconds in which it stands still. ``tell`` is given what `query-migrate` says, again
        and again. If it fails, the machine goes on here. Raises `BimetalError`."""
        known = self.running(called)
        with self.conversation(known.name) as talk:
            talk.ask("migrate-set-parameters", max_bandwidth=bandwidth, downtime_limit=downtime)
            talk.ask("migrate", uri=place)
            late("bimetal.control.travelling:follow")(talk, tell)
            talk.ask("quit")
        self.await_end(known.name, TERM_SECONDS)
        return known

    def destroy(self, called: str, *, graceful: bool = False) -> Known:
        """End the process of a machine: by SIGTERM, and, unless it is to be ``graceful``, by
        SIGKILL if that does not help."""
        known = self.running(called)
        for number, seconds in ((signal.SIGTERM, TERM_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
            if number is signal.SIGKILL and graceful:
                break
            try:
                ended = end_process(lambda: self.places.pid(known.name), number, seconds)
            except OSError as error:
                raise BimetalError(
                    f"the process of {known.name} cannot be ended: {error.strerror}",
                    f"end it yourself: kill {self.places.pid(known.name)}",
                    ExitCode.UNAVAILABLE,
                ) from error
            if ended and self.await_end(known.name, seconds):
                return known
        raise BimetalError(
            f"the process of {known.name} does not end",
            "the host keeps it, perhaps in a file that it cannot read or write",
            ExitCode.UNAVAILABLE,
        )

    # Parts of these

    def _turn(self) -> AbstractContextManager[None]:
        self.places.prepare(self.places.definitions)
        turn: AbstractContextManager[None] = late("bimetal.backends.turns:turn")(
            self.places.definitions
        )
        return turn

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

    def _launch(self, name: str, text: str, *words: str) -> None:
        folder = self.places.state(name)
        self.places.prepare(folder)
        late("bimetal.control.launching:launch")(text, folder / "log", words)

    def await_end(self, name: str, seconds: float) -> bool:
        """Wait for the end of a machine's process; False if it has not come in so many seconds."""
        return await_release(lambda: self.places.pid(name), seconds)

    def _forget_another(self, name: str) -> None:
        """Remove what was said of a machine of before that had a name: one that was undefined while
        it ran leaves that."""
        for kept in (self.places.descriptions, self.places.checkpoints, self.places.backup):
            kept(name).unlink(missing_ok=True)

    def _forget(self, name: str) -> None:
        """Remove what is known of a machine that does not run."""
        folder = self.places.state(name)
        with suppress(OSError):
            lease = Lease.take(self.places.lease(name))
            if lease is not None:
                late("shutil:rmtree")(folder, ignore_errors=True)
                lease.release()


def _more(paused: bool, sandbox: bool) -> list[str]:
    """Words for a process that begins like that."""
    return [*["--paused"] * paused, *["--unconfined"] * (not sandbox)]
