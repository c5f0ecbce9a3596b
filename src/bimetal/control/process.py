"""The process in which a machine that stays runs.

    python -m bimetal.control.process [--restore FILE [--trust] [--once]] [--anew] [--paused]
        [--unconfined] [--incoming PLACE]

Its standard input is the definition. It holds the machine's lease, listens at the machine's socket,
writes what state the machine is in, and ends with it. SIGTERM, SIGINT and SIGHUP end both.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from bimetal.backends.handing import Intake
from bimetal.backends.lease import Lease, count_up
from bimetal.base.clock import wall_seconds
from bimetal.base.collecting import collect_seldom
from bimetal.base.confining.privileges import give_up_new_privileges
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.remedies import remedy_elsewhere
from bimetal.base.standard_error import lose_what_it_does_not_take
from bimetal.control.confinement import confine, why_not
from bimetal.control.definition import Definition, furnish
from bimetal.control.domain_xml.reading import read_definition
from bimetal.control.events import Event
from bimetal.control.launching import Ready
from bimetal.control.managed import Managed
from bimetal.control.monitor import Monitor
from bimetal.control.moves import Move, Moves, with_image
from bimetal.control.places import Places, write_over, write_whole
from bimetal.control.readiness import Readiness
from bimetal.control.viewing import serve_screen
from bimetal.machine.machine import Machine
from bimetal.machine.result import Ending, Result

if TYPE_CHECKING:
    from bimetal.machine.live.moves import Moves as DiskMoves

__all__ = ["main"]

STATE_ROOM = 1024
"""What the bytes of a state are a multiple of."""

TERMINATE = "terminate"
RUNNING, PAUSED = "running", "paused"
START_OPTIONS = ("sandbox", "trust", "paused")
"""Those of the commands that have started us."""

STATES = {"running": RUNNING, "paused": PAUSED, "prelaunch": PAUSED}
"""What people call the states of a machine that has not ended."""

ENDED = {
    Ending.POWER_OFF: "shutdown",
    Ending.RESET: "shutdown",
    Ending.STOPPED: "destroyed",
    Ending.PANIC: "crashed",
    Ending.FAULT: "crashed",
}
"""Why a machine is off, as people call it."""


class Process:
    """Runs the machine of a definition, whose ``text`` it has."""

    def __init__(self, text: str, places: Places, words: Sequence[str]):
        self._text, self._places = text, places
        self._restore, self._incoming = _behind(words, "--restore"), _behind(words, "--incoming")
        self._trust, self._paused = "--trust" in words, "--paused" in words
        self._used_up = "--once" in words or "--anew" in words
        """Whether a state that was saved for the next start is of no use once this one is done."""
        self._definition = read_definition(text)
        self._confined = "--unconfined" not in words
        self._name = self._definition.name
        self._folder = places.state(self._name)
        self._run = places.run(self._name)
        self._news = SimpleQueue[str]()
        self._state: dict[str, Any] = {}
        self._moves = Moves(places.moves(self._name))
        self._telling = threading.RLock()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self._news.put(TERMINATE))

    def run(self, ready: Ready) -> None:
        """From the lease to the end. Raises `BimetalError`."""
        self._places.prepare(self._folder)
        lease = self._take_lease()
        try:
            self._begin()
            self._open_way()
            self._confine()
            self._open_intake()
            while self._once(ready):
                self._restore, self._incoming, self._paused = "", "", False
            self._forget()
        except BimetalError:
            self._tell(state="shut off", reason="failed")
            raise
        finally:
            shutil.rmtree(self._sockets, ignore_errors=True)
            lease.release()

    def _forget(self) -> None:
        """Remove what is known of the machine if it has no definition any more, and has ended well:
        otherwise its log may tell somebody why it has not."""
        kept = (
            self._places.definition(self._name).exists() or self._places.saved(self._name).exists()
        )
        if not kept and self._state.get("reason") != ENDED[Ending.FAULT]:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _sockets(self) -> Path:
        return self._run / "sockets" if self._run == self._folder else self._run

    def _take_lease(self) -> Lease:
        try:
            lease = Lease.take(self._places.lease(self._name))
            if lease is not None:
                self._places.mark(lease, self._name)
        except OSError as error:
            raise BimetalError(
                f"the lease of {self._name} cannot be had: {error.strerror}",
                f"look at {self._folder}",
                ExitCode.IO_ERROR,
            ) from error
        if lease is None:
            raise BimetalError(
                f"{self._name} runs already", "one process runs it", ExitCode.UNAVAILABLE
            )
        return lease

    def _begin(self) -> None:
        """Put right what an earlier process has left, and say who we are."""
        shutil.rmtree(self._sockets, ignore_errors=True)
        self._places.prepare(self._sockets)
        number = count_up(str(self._places.states / ".last-id"))
        write_whole(self._folder / "xml", self._text)
        self._tell(
            pid=os.getpid(),
            id=number,
            uuid=str(self._definition.uuid),
            state=PAUSED,
            socket=str(self._sockets / "qmp"),
            started=wall_seconds(),
            reason="restored" if self._restore else "booted",
        )

    def _confine(self) -> None:
        """Keep to what the machine needs from here on."""
        if not self._restore:
            copy_template(self._definition)
        why = why_not(self._definition) if self._confined else "that was asked for"
        if why:
            print(f"bimetal: {self._name} is not confined: {why}", file=sys.stderr, flush=True)
            return
        found = confine(self._definition, self._folder, self._sockets, self._restore)
        self._tell(sandbox=found)

    def _open_way(self) -> None:
        """Listen where another process is going to send the machine."""
        if self._incoming:
            await_passage = late("bimetal.backends.passage:await_passage")
            where, self._await_way = await_passage(self._incoming)
            self._tell(incoming=where)

    def _open_intake(self) -> None:
        """Let clients hand in what this process cannot open."""
        intake = Intake(str(self._sockets / "intake"))
        threading.Thread(target=intake.run, name="intake", daemon=True).start()

    def _tell(self, **news: Any) -> None:
        """Write what state the machine is in. A full disk does not end the machine, and what is
        new goes into the room of what was there."""
        with self._telling:
            new = {**self._state, **news}
            if new == self._state:
                return
            self._state = new
            path, text = self._folder / "state.json", json.dumps(new)
            text = text.ljust(-(-len(text) // STATE_ROOM) * STATE_ROOM)
            try:
                write_whole(path, text)
            except BimetalError as error:
                with suppress(OSError):
                    write_over(path, text)
                with suppress(OSError):
                    print(error, file=sys.stderr, flush=True)

    def _tell_state(self, vm: Managed) -> None:
        """Write whether the machine runs, unless it has ended."""
        with self._telling:
            if vm.machine.result is None:
                self._tell(state=STATES.get(vm.state, PAUSED))

    def _once(self, ready: Ready) -> bool:
        """Run the machine once; whether it is to be started again."""
        with ExitStack() as stack:
            machine = stack.enter_context(self._made())
            place = f"unix:{self._sockets / 'qmp'}"
            identity: dict[str, Any] = {"uuid": self._definition.uuid, "label": self._text}
            monitor = Monitor(machine, place, name=self._name, **identity)
            stack.enter_context(monitor)
            monitor.vm.on_event.add(self._hear)
            monitor.vm.settle = lambda: self._tell_state(monitor.vm)
            monitor.vm.note_moves = partial(self._move, monitor.vm)
            self._start(machine, monitor.vm)
            if self._used_up:
                self._places.saved(self._name).unlink(missing_ok=True)
            self._tell(**self._seen(machine), console=machine.console.where)
            self._tell_state(monitor.vm)
            ready.tell()
            stack.enter_context(Readiness())
            late("bimetal.control.qmp.session:Session")  # for the first client, who may be long
            self._follow(machine, monitor)
            if monitor.vm.failure is not None:
                raise monitor.vm.failure
            result = machine.wait()
            again = monitor.vm.restart and result.ending is Ending.POWER_OFF
            if not again:
                self._tell_end(result, self._why_off(result, monitor.vm))
            return again

    def _start(self, machine: Machine, vm: Managed) -> None:
        """Start the machine, or wait for it."""
        if self._incoming:
            vm.awaits_state, vm.starts_paused, vm.ends_without_state = True, self._paused, True
            vm.await_machine(self._await_way)
            return
        if self._paused:
            machine.pause()
        machine.start()

    def _seen(self, machine: Machine) -> dict[str, str]:
        """Where the screen is seen, if there is one."""
        screen = self._definition.screen
        if screen is None:
            return {}
        return serve_screen(machine, screen, str(self._sockets / "screen"))

    def _hear(self, event: Event) -> None:
        self._news.put(event.name)

    def _follow(self, machine: Machine, monitor: Monitor) -> None:
        """Write what happens, until the run is over."""
        vm = monitor.vm
        while machine.running or (vm.is_to_come and not vm.quitted):
            if self._news.get() == TERMINATE:
                monitor.signalled()
                machine.stop()
                self._tell_state(vm)
                return
            self._tell_state(vm)

    def _move(self, vm: Managed, moves: DiskMoves) -> None:
        """Disks are about to have other images: from now on the definition says so. Raises
        `BimetalError`, and then they have not."""
        built_in = [disk for disk in self._definition.disks if not disk.cdrom]
        names = {f"disk{number}": disk.target for number, disk in enumerate(built_in)}
        names |= {device: id_ for id_, device in vm.devices.items()}
        text, noted = self._text, dict[str, tuple[str, Move]]()
        for drive, moved in moves.items():
            target = names.get(drive, drive)
            move = Move(moved.path, moved.format, list(moved.below))
            noted[target] = moved.before, move
            text = with_image(text, target, move)
        self._moves.note(noted)
        self._text, self._definition = text, read_definition(text)
        vm.label = text
        write_whole(self._folder / "xml", text)

    def _why_off(self, result: Result, vm: Managed) -> str:
        """Why the machine is off, in a word."""
        gone = vm.given is not None and vm.given.away
        return "migrated" if gone else "saved" if vm.saved else ENDED[result.ending]

    def _tell_end(self, result: Result, reason: str) -> None:
        print(f"bimetal: {self._name}: {result}", file=sys.stderr, flush=True)
        if result.details:
            print(result.details, file=sys.stderr, flush=True)
        self._tell(state="shut off", reason=reason)

    def _made(self) -> Machine:
        """The machine, not started."""
        definition = self._definition
        if self._restore:
            return Machine.restore(
                self._restore, serial=definition.serial, accel=definition.accel, trust=self._trust
            )
        machine = Machine(**definition.machine_options())
        if self._incoming:
            machine.await_arrival()
        try:
            furnish(machine, definition, lambda name: str(self._sockets / name))
        except BaseException:
            machine.close()
            raise
        return machine


def copy_template(definition: Definition) -> None:
    """Make the file for variables of firmware, if it is not there yet."""
    if not definition.flash_template or Path(definition.flash[-1]).exists():
        return
    scratch = f"{definition.flash[-1]}.new"
    try:
        shutil.copyfile(definition.flash_template, scratch)
        os.replace(scratch, definition.flash[-1])
    except OSError as error:
        raise BimetalError(
            f"{definition.flash_template} cannot be copied to {definition.flash[-1]}: "
            f"{error.strerror}",
            "check the paths of <nvram>",
            ExitCode.NO_INPUT,
        ) from error


def _behind(words: Sequence[str], option: str) -> str:
    """What stands behind an option, "" without it."""
    return words[words.index(option) + 1] if option in words else ""


def main(words: Sequence[str]) -> None:
    """Run the machine that standard input and ``words`` describe, in a process that is nobody's
    child."""
    if os.fork():
        os._exit(0)
    lose_what_it_does_not_take()
    collect_seldom()
    ready = Ready()
    try:
        os.chdir("/")
        give_up_new_privileges()
        text = sys.stdin.buffer.read().decode(errors="surrogateescape")
        Process(text, Places(), words).run(ready)
    except BimetalError as error:
        told = BimetalError(
            error.cause, remedy_elsewhere(error.remedy, START_OPTIONS), error.exit_code
        )
        print(f"bimetal: {told}", file=sys.stderr, flush=True)
        ready.tell(told)
        sys.exit(error.exit_code)
    except Exception as error:
        with suppress(OSError):  # there may be no room for it
            traceback.print_exc()
        told = _as_told(error)
        ready.tell(told)
        os._exit(told.exit_code)


def _as_told(error: Exception) -> BimetalError:
    """What a client is told of an error of the host, or of ours."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return BimetalError(
            f"the host fails: {where}{error.strerror or error}",
            "make room on its disk, or let it open more files; the machine's log has more",
            ExitCode.IO_ERROR,
        )
    cause = f"a defect of Bimetal: {type(error).__name__}: {error}"
    return BimetalError(cause, "its log has more", ExitCode.INTERNAL)


if __name__ == "__main__":
    main(sys.argv[1:])
