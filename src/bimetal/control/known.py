"""What machines there are, and what is known of them without disturbing them.

A list of them has to be quick, so what only other uses need is imported late.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.near import did_you_mean
from bimetal.control.places import Places

if TYPE_CHECKING:
    from uuid import UUID

    from bimetal.control.definition import Definition

__all__ = ["Known", "KnownMachines"]

OFF = "shut off"
UUID_LENGTH = 36


@dataclass(frozen=True)
class Known:
    """A machine: its ``name``, the ``id`` of its run, or 0, and its ``state``, as people call it:
    running, paused, shut off, crashed. ``persistent`` ones are defined; the next start of a
    ``saved`` one goes on where it was."""

    name: str
    id: int
    state: str
    persistent: bool
    reason: str = ""
    saved: bool = False

    @property
    def runs(self) -> bool:
        """Whether there is a process for it."""
        return bool(self.id)


class KnownMachines:
    """The machines in ``places``, those of the user if nothing else is said. Methods raise
    `BimetalError`. A machine is called by its name, its UUID, or the id of its run."""

    def __init__(self, places: Places | None = None):
        self.places = places or Places()

    def __iter__(self) -> Iterator[Known]:
        """All of them: those that run by id, then the others by name."""
        defined, marked = set(self.places.defined()), self.places.marked()
        names = {*defined, *self.places.known(), *marked}
        found = [self._known(name, name in defined, marked) for name in names]
        there = [each for each in found if each.runs or each.persistent]
        return iter(sorted(there, key=lambda each: (not each.id, each.id, each.name)))

    def find(self, called: str) -> Known:
        """The machine that is called so."""
        name = self._name_of(called)
        persistent = self.places.definition(name).is_file()
        known = self._known(name, persistent, self.places.marked())
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

    def defined(self, called: str) -> Known:
        """The machine that is called so, which has to be defined."""
        known = self.find(called)
        if not known.persistent:
            raise BimetalError(
                f"{known.name} is transient: it has no definition",
                "define it: bimetal dumpxml, bimetal define",
                ExitCode.USAGE,
            )
        return known

    def state_of(self, name: str) -> dict[str, Any]:
        """What the process of a machine says of it."""
        return dict(self.places.state_of(name))

    def console_of(self, name: str) -> str:
        """Where the console of a machine that runs leads: the path of a terminal, or another place
        as the command line names it."""
        return str(self.state_of(name).get("console", ""))

    def xml(self, called: str, *, inactive: bool = False) -> str:
        """The definition of a machine, as XML: what it was started as if it runs, unless the
        ``inactive`` one is asked for."""
        known = self.find(called)
        if known.runs and not (inactive and known.persistent):
            text = _read(self._started_as(known.name))
            with_run = late("bimetal.control.domain_xml.writing:with_run")
            return str(with_run(text, known.id, self.console_of(known.name)))
        return self._definition_text(known.name)

    def _started_as(self, name: str) -> Path:
        """The file that says what a machine that runs was started as: its own, or, if that was
        removed, what its process had as its standard input."""
        path = self.places.state(name) / "xml"
        return path if path.exists() else Path(f"/proc/{self.places.pid(name)}/fd/0")

    def _definition_text(self, name: str) -> str:
        """What the file of a definition says. The name of the file is that of the machine, also
        when a client was killed that has just given it another one."""
        text = _read(self.places.definition(name))
        if f"<name>{name}</name>" not in text:
            text = str(late("bimetal.control.domain_xml.altering:named")(text, name))
        moves = self.places.moves(name)
        if moves.exists():
            text = str(late("bimetal.control.moves:with_moves")(text, moves))
        return text

    def definition(self, called: str, *, inactive: bool = False) -> Definition:
        """The definition of a machine."""
        return self._read_definition(self.xml(called, inactive=inactive))

    def _read_definition(self, text: str | bytes) -> Definition:
        found: Definition = late("bimetal.control.domain_xml.reading:read_definition")(text)
        return found

    def _known(self, name: str, persistent: bool, marked: Mapping[str, int]) -> Known:
        pid = self.places.pid_among(name, marked)
        state = self.places.state_of(name)
        saved = self.places.saved(name).is_file()
        if pid and state.get("pid") == pid:
            number, shown = int(state["id"]), str(state["state"])
            return Known(name, number, shown, persistent, _reason(state), saved)
        if pid:  # it has only just begun, or its file is damaged, or gone
            return Known(name, pid, "no state", persistent, saved=saved)
        ended = state.get("state") == OFF
        reason = _reason(state) if ended else "crashed" if state else "unknown"
        return Known(name, 0, OFF, persistent, reason, saved)

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


def _reason(state: Any) -> str:
    return str(state.get("reason", "unknown"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise BimetalError(
            f"{path} cannot be read: {error.strerror}",
            "check its permissions",
            ExitCode.NO_INPUT,
        ) from error
