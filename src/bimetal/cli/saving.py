"""``bimetal run --save FILE`` and ``--restore FILE``, or ``--savevm NAME`` and ``--loadvm NAME``:
machines that outlive their run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import wraps
from types import FrameType
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from msgspec import Struct

from bimetal import BimetalError, ExitCode, Machine

__all__ = ["Request", "Saving", "saving_options"]

Answer = TypeVar("Answer")

WITH_RESTORE = {
    "restore", "trust", "new_macs", "save", "save_at", "savevm", "accel", "serial", "background",
    "stats", "profile", "symbols", "trace", "qmp", "name", "uuid", "paused", "model",
}  # fmt: skip
"""Options that make sense for a machine that is restored: all others are in its snapshot."""

SIGNAL = signal.SIGUSR1


class Request:
    """What became of the wish to save a machine: ``wanted`` is whether there is one, ``tried``
    whether that was begun, which tells a person how it ends, ``done`` whether it is saved."""

    def __init__(self, *, wanted: bool):
        self.wanted, self.tried, self.done = wanted, False, False

    def code(self, code: int) -> int:
        """The exit code of a run that has ended with ``code``: 0 says that all was done. Tells a
        person what was not."""
        if self.done or not self.wanted:
            return code
        if not self.tried:
            cause = "the machine is not saved: its run ended before it showed the text of --save-at"
            click.echo(f"bimetal: {cause}", err=True)
        return code or ExitCode.IO_ERROR


class Saving(Struct, frozen=True):
    """The file to ``restore`` a machine from, with how much ``trust`` and perhaps ``new_macs``, and
    that to ``save`` it to: when somebody wishes it, or ``at`` a text on the console. ``loadvm`` and
    ``savevm`` are the same for names in the machine's qcow2 disks."""

    restore: str | None = None
    trust: bool = False
    new_macs: bool = False
    save: str | None = None
    at: str | None = None
    loadvm: str | None = None
    savevm: str | None = None

    def __post_init__(self) -> None:
        if self.save is not None and self.savevm is not None:
            raise click.UsageError("--save and --savevm are two places for one state: give one")
        if self.at is not None and not self.saves:
            raise click.UsageError("--save-at says when to save: add --save FILE or --savevm NAME")

    @property
    def saves(self) -> bool:
        """Whether the machine may be saved."""
        return self.save is not None or self.savevm is not None

    def check(self, context: click.Context) -> None:
        """Raise UsageError for options that a restored machine has already."""
        if self.restore is None:
            for option, wanted in (("--trust", self.trust), ("--new-macs", self.new_macs)):
                if wanted:
                    raise click.UsageError(f"{option} is about a snapshot: add --restore FILE")
            return
        for parameter in context.command.params:
            given = context.get_parameter_source(parameter.name or "")
            if given is ParameterSource.COMMANDLINE and parameter.name not in WITH_RESTORE:
                name = (
                    max(parameter.opts, key=len)
                    if parameter.param_type_name == "option"
                    else "a guest"
                )
                raise click.UsageError(f"the snapshot says what the machine is: leave {name} away")

    @contextmanager
    def on_request(self, machine: Machine) -> Iterator[Request]:
        """A context in which ``machine`` is saved, and ended, when somebody asks for it. To be
        entered before the machine starts: a signal may come at once. After it, what it yields says
        whether that was done."""
        request = Request(wanted=self.at is not None)
        if not self.saves:
            yield request
            return
        busy, savers = threading.Lock(), list[threading.Thread]()

        def save() -> None:
            if busy.acquire(blocking=False):
                try:
                    self._save(machine, request)
                finally:
                    busy.release()

        def soon(*_: object) -> None:
            request.wanted = request.tried = True
            saver = threading.Thread(target=save, name="save", daemon=True)
            saver.start()
            savers.append(saver)

        machine.on_save_key = soon
        with _on_signal(soon):
            yield request
        for saver in savers:  # what ends the machine has still to say that it is saved
            saver.join()

    @contextmanager
    def at_text(
        self, machine: Machine, meanwhile: AbstractContextManager[object] | None = None
    ) -> Iterator[None]:
        """A context in which that is asked for when the console shows ``at``; inside of it is
        ``meanwhile``. To be entered once the machine runs."""
        with meanwhile or nullcontext():
            if self.at is None:
                yield
                return
            waiter = threading.Thread(target=self._wait, args=(machine,), daemon=True)
            waiter.start()
            yield
            waiter.join()  # the run is over: the text was shown, or never will be

    def _save(self, machine: Machine, request: Request) -> None:
        try:
            if self.savevm is not None:
                machine.savevm(self.savevm, stop=True)
                again = f"the same command with --loadvm {self.savevm}"
            else:
                machine.save(str(self.save), stop=True)
                again = f"bimetal run --restore {self.save}"
            request.done = True
            click.echo(f"\r\nbimetal: saved; {again} goes on", err=True)
        except BimetalError as error:
            click.echo(f"\r\nbimetal: {error.cause}\r\nbimetal: {error.remedy}", err=True)

    def _wait(self, machine: Machine) -> None:
        with suppress(BimetalError):
            machine.console.expect(str(self.at), timeout=None)
            if machine.on_save_key is not None:
                machine.on_save_key()


@contextmanager
def _on_signal(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """A context in which a signal of the user's is handled so."""
    try:
        before = signal.signal(SIGNAL, handle)
    except ValueError:  # not the main thread, which is a program's own affair
        yield
        return
    try:
        yield
    finally:
        signal.signal(SIGNAL, before)


def saving_options(command: Callable[..., Answer]) -> Callable[..., Answer]:
    """Options --restore, --trust, --new-macs, --save, --loadvm, --savevm and --save-at: ``command``
    has them as ``saving``."""

    @click.option("--restore", metavar="FILE", help="Go on with the machine that was saved there.")
    @click.option(
        "--trust", is_flag=True, help="Also one that reaches folders, ports or sockets of the host."
    )
    @click.option(
        "--new-macs", is_flag=True, help="Its NICs have other addresses than before it was saved."
    )
    @click.option(
        "--save", metavar="FILE", help="Where Ctrl-A s and SIGUSR1 save the machine, and end it."
    )
    @click.option(
        "--loadvm",
        metavar="NAME",
        help="Go on with the state that its qcow2 disks have by that name.",
    )
    @click.option("--savevm", metavar="NAME", help="As --save, by that name in its qcow2 disks.")
    @click.option("--save-at", metavar="TEXT", help="Save it when its console shows this.")
    @wraps(command)
    def gathered(
        restore: str | None,
        trust: bool,
        new_macs: bool,
        save: str | None,
        loadvm: str | None,
        savevm: str | None,
        save_at: str | None,
        **others: Any,
    ) -> Answer:
        saving = Saving(restore, trust, new_macs, save, save_at, loadvm, savevm)
        return command(saving=saving, **others)

    return gathered
