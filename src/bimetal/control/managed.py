"""A machine as it is controlled from outside: with a name, and with what its controllers have said
of it so far."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from msgspec import Struct, field

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.paths import same_file
from bimetal.control.emulator.targets import Target
from bimetal.control.events import CauseData, DumpInfo, Event, ShutdownCause, told_of
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.handed import Handed
from bimetal.control.migration import Migration
from bimetal.machine.events import EventKind, MachineEvent
from bimetal.machine.listeners import Listeners
from bimetal.machine.result import Ending

if TYPE_CHECKING:
    from bimetal.backends.chars.held import HeldOutput
    from bimetal.backends.passage import Coming
    from bimetal.machine.live.moves import Moves
    from bimetal.machine.machine import Machine
    from bimetal.machine.vnc import Vnc

__all__ = ["ENDED", "BlockNode", "Managed", "node_of"]

ENDED = {
    Ending.POWER_OFF: "shutdown",
    Ending.RESET: "shutdown",
    Ending.STOPPED: "shutdown",
    Ending.PANIC: "guest-panicked",
    Ending.FAULT: "internal-error",
}
"""What QMP calls the state of a machine whose run has ended in that way."""


class BlockNode(Struct, frozen=True):
    """An image that was told of (``blockdev-add``) and may become a disk: ``format`` is None for
    the bytes of the file ``path``. ``file`` is the name of the node of that file, if it is
    another one, ``backing`` that of the image that it is built on, and
    ``backing_folders`` are those in which files that it names may lie."""

    path: str
    format: str | None = None
    readonly: bool = False
    file: str = ""
    backing_folders: tuple[str, ...] = ()
    backing: str = ""


def node_of(nodes: Mapping[str, BlockNode], path: str) -> str:
    """The name of the node of the image at ``path``, "" if there is none."""
    for name, node in [*nodes.items()]:
        if node.format is not None and same_file(node.path, path):
            return name
    return ""


class Managed(Struct, eq=False):
    """A machine, its ``name`` and its ``uuid``; or none, of an emulator that is only asked what it
    can do."""

    given: Machine | None
    name: str = ""
    uuid: UUID = field(default_factory=uuid4)
    cause: ShutdownCause = ShutdownCause.HOST_UI
    """What is told of an end that comes from the host."""

    label: str = ""
    """What snapshots of the machine carry besides its state: the definition."""

    restart: bool = False
    """Whether it is to be started again once the guest has switched off."""

    saved: bool = False
    """Whether its end was that it was saved."""

    nodes: dict[str, BlockNode] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)
    """Devices that were plugged in: the names that clients gave them, and those they have."""
    disks: dict[str, str] = field(default_factory=dict)
    """The nodes of those that are disks, by the names that clients gave these."""

    networks: dict[str, str] = field(default_factory=dict)
    """Networks that were told of (``netdev_add``), as the command line has them."""

    nics: dict[str, str] = field(default_factory=dict)
    """The networks of devices that are NICs, by the names that clients gave these."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    """Held while any of the above changes."""

    on_event: Listeners[[Event]] = field(default_factory=Listeners)
    """Called in any thread, with the machine's lock held."""

    settle: Callable[[], None] = lambda: None
    """Called when a command is done, before its client hears of it, in any thread."""

    target: Target | None = None
    """The emulator that this is, if it is one."""

    revive: Callable[[], None] | None = None
    """Has a machine that is off begin anew, paused; None if it cannot."""

    quitted: bool = False
    """Whether a client has told it to end."""

    handed: Handed = field(default_factory=Handed)
    awaits_state: bool = False
    """Whether it begins with a state that is still to come."""
    starts_paused: bool = False
    """Whether it stands still when that has come."""
    ends_without_state: bool = False
    """Whether it ends if that does not come."""
    failure: BimetalError | None = None
    """Why it did not come, then."""

    begun: threading.Event = field(default_factory=threading.Event)
    """Whether it has been started, if it is about to be when a client may ask already."""

    note_moves: Callable[[Moves], None] | None = None
    """See `Machine.on_moved`."""

    slots: dict[str, int] = field(default_factory=dict)
    """The numbers of root ports, by what clients call them."""

    console_label: str = "serial0"
    lines: dict[str, str] = field(default_factory=dict)
    """Where the lines of ports lead, by what clients call them; and what they call the console."""

    held: dict[str, HeldOutput] = field(default_factory=dict)
    """Lines whose output is held in memory, by what clients call them."""

    viewers: Vnc | None = None
    """The server of those who see the screen."""

    migration: Migration = field(default_factory=Migration)
    """Its move to another process, or from one."""

    dump: DumpInfo = field(default_factory=lambda: DumpInfo(status="none", completed=0, total=0))
    """How far a core file of it is."""

    _launched: bool = False
    _ears: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.begun.set()
        self.migration.tell = self.on_event

    @property
    def machine(self) -> Machine:
        """The machine. Raises `CommandFailed` if there is none."""
        if self.given is None:
            raise CommandFailed(
                ErrorClass.GENERIC,
                "there is no machine",
                "start the emulator with another one than -machine none",
                ExitCode.UNAVAILABLE,
            )
        return self.given

    @property
    def isa(self) -> str:
        """The instruction set of the machine, or of those that the emulator has."""
        if self.target is not None:
            return self.target.isa
        board = late("bimetal.control.known_boards:board_named")(self.machine.board)
        return str(board.isa)

    def await_machine(self, await_way: Coming) -> None:
        """Have the machine come by what ``await_way`` returns, and begin."""

        def there() -> None:
            if self.starts_paused:
                self.machine.pause()
            self.machine.start()
            self.awaits_state = False  # there was always one of both: it runs, or it is awaited

        def failed(error: BimetalError) -> None:
            if self.ends_without_state:
                self.failure = error
                self.quit(ShutdownCause.HOST_ERROR)

        self.migration.arrive(self.machine, await_way, there, failed)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A context in which this hears what happens to the machine."""
        with self._ears:
            self._listen()
            yield

    def adopt(self, machine: Machine) -> None:
        """There is another machine in the place of the one that was there; what clients have told
        of that is forgotten."""
        self._ears.close()
        with self.lock:
            self.given, self._launched = machine, False
            for told in (self.nodes, self.devices, self.disks, self.networks, self.nics):
                told.clear()
            self.lines.clear()
            self.held.clear()
            self.slots.clear()
        self._listen()

    def _listen(self) -> None:
        if self.given is not None:
            self._ears.enter_context(self.given.on_event(self._hear))
            self.given.on_moved = self._moved

    def _moved(self, moves: Moves) -> None:
        """Disks are about to have other images: whoever keeps their definition notes it first. No
        lock is taken: the machine may wait for this."""
        if self.note_moves is not None:
            self.note_moves(moves)
        given = {device: id_ for id_, device in [*self.devices.items()]}
        for drive, move in moves.items():
            if drive not in given:
                continue
            if node := node_of(self.nodes, move.path):
                self.disks[given[drive]] = node
            else:  # the node that it was made from is not its image any more
                self.disks.pop(given[drive], None)

    @property
    def state(self) -> str:
        """The state, as QMP calls it (RunState in QEMU's qapi/run-state.json)."""
        if self.given is None:
            return "prelaunch"
        result = self.machine.result
        if result is not None:
            return ENDED[result.ending]
        if self.awaits_state:
            return "inmigrate"
        if self.machine.away:
            return "finish-migrate" if self.migration.under_way else "postmigrate"
        if not self.machine.running or (self.machine.paused and not self._launched):
            return "prelaunch"
        if not self.machine.paused:
            return "running"
        return "io-error" if self.machine.full else "paused"

    @property
    def is_to_come(self) -> bool:
        """Whether its state is still to come, or has not come, and where it was to come from is
        just being told so."""
        return self.awaits_state and (self.machine.result is None or self.migration.under_way)

    def quit(self, cause: ShutdownCause) -> None:
        """End the run."""
        self.cause, self.quitted = cause, True
        if self.given is None or self.given.result is not None:
            self.on_event(Event("SHUTDOWN", CauseData(guest=False, reason=cause)))
        else:
            self.given.stop()

    def _hear(self, event: MachineEvent) -> None:
        """Something has happened to the machine, whose lock is held: ours is not taken."""
        if event.kind is EventKind.RESUMED or (
            event.kind is EventKind.PAUSED and self.machine.running
        ):
            self._launched = True
        given = [id_ for id_, device in [*self.devices.items()] if device == event.device]
        for told in told_of(event, self.machine.result, "".join(given), self.cause):
            self.on_event(told)
        for id_ in given if event.kind is EventKind.UNPLUGGED else ():
            self.devices.pop(id_, None)
            self.disks.pop(id_, None)
            self.nics.pop(id_, None)
