"""Machines that are kept: snapshots in files and in memory. A part of `Machine`."""

from __future__ import annotations

from os import PathLike, fspath
from typing import Self

from bimetal.backends.chars.protocol import CharBackend
from bimetal.base.clock import Clock
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.assembly import Engine
from bimetal.machine.board import find_board
from bimetal.machine.cables import readdress
from bimetal.machine.changing import model_for
from bimetal.machine.checkpoint import Checkpoint
from bimetal.machine.core import MachineCore
from bimetal.machine.live.seat import await_requests
from bimetal.machine.recipe import Recipe
from bimetal.machine.result import Ending, Result
from bimetal.machine.runner import Runner
from bimetal.machine.snapshots import (
    check,
    check_plugs,
    check_same,
    fill,
    recipe_in,
    standing,
    write,
)
from bimetal.machine.still import plugged_in, settle
from bimetal.seam import Accelerator
from bimetal.snapshot.reader import Reader

__all__ = ["KeptMachine"]


class KeptMachine(MachineCore):
    """Methods to keep a state, and to go back to it."""

    def save(
        self,
        path: str | PathLike[str],
        *,
        stop: bool = False,
        compress: bool = False,
        label: str = "",
    ) -> None:
        """Save the whole state of the machine to a file, from which `restore` makes another one.
        The guest notices nothing, and goes on, unless it is to ``stop``: then the run ends as by
        `Machine.stop`.

        Disks and flash images stay where they are, and are part of the state: the snapshot can be
        restored as long as they are what they are now, so ``stop`` a guest that writes to them.
        What was written to disks with ``snapshot`` is in the file. With ``compress`` it is smaller,
        and takes more time, both ways. `label_of` returns the ``label``.

        An older snapshot at ``path`` is replaced once the new one is safe on the host's disk.
        Raises `BimetalError` if the machine has not started, or cannot be saved there; it goes on.
        """
        runner = self._running_one("there is no state to save")
        await_requests(runner)
        with standing(self._gate, self._clock):
            recipe = self._recipe(runner)
            write(fspath(path), recipe, runner, self._consoles, compress=compress, label=label)
            if stop:
                self._gate.end(Result(Ending.STOPPED))

    @staticmethod
    def label_of(path: str | PathLike[str]) -> str:
        """The label with which `save` has written the file ``path``. Raises `BimetalError` for a
        file that is no snapshot."""
        with Reader(fspath(path)) as reader:
            return str(reader.manifest.get("label", ""))

    def checkpoint(self) -> None:
        """Keep the present state in memory, for `rewind`, in place of an earlier one. It takes as
        much of the host's memory as the guest uses, and the machine goes on.

        Disks are as for `Machine.fork`: those with ``snapshot`` are rewound too, and one to which
        the guest writes itself cannot be. Raises `BimetalError` if there is no state to keep.
        """
        runner = self._running_one("there is no state to keep")
        with standing(self._gate, self._clock):
            self._kept = Checkpoint(runner, self._consoles)

    def rewind(self) -> None:
        """Go back to the state at the last `checkpoint`, and on from there, any number of times. It
        takes time for the pages that were written to since, not for the size of the memory.

        Raises `BimetalError` if there was no checkpoint, or the run is over.
        """
        runner = self._running_one("it cannot go back")
        if self._kept is None:
            raise BimetalError(
                "the machine has no checkpoint", "call checkpoint() first", ExitCode.USAGE
            )
        with standing(self._gate, self._clock):
            self._kept.load(runner, self._consoles)

    @classmethod
    def restore(
        cls,
        path: str | PathLike[str],
        *,
        accel: str | Accelerator = "auto",
        serial: str | CharBackend = "none",
        hvc: str | CharBackend | None = None,
        background: bool = True,
        trust: bool = False,
        new_macs: bool = False,
        cpu_model: str = "",
        clock: Clock | None = None,
    ) -> Self:
        """A machine in the state that `save` wrote to ``path``: it goes on with `start`. Board,
        options and disks are those of the machine that was saved; what remains to be said are the
        host's sides, as for a new machine. The accelerator may be another one.

        Its memory is read from the file as the guest needs it, so the file must not be changed as
        long as the machine lives; it may be removed or replaced. A machine's time goes on where it
        stood, and its real-time clock shows what the host's does.

        With ``new_macs`` its NICs have other addresses than those of the machine that was saved,
        which the guest's driver finds when it begins anew.

        Its processor is the one that the guest has found when it began, unless ``cpu_model`` names
        another: where KVM, or our own accelerators, do not have it, and the guest's programs use
        nothing that the other one lacks.

        A machine that shares folders or sockets of the host is restored only if you ``trust`` who
        has made the file.

        Raises `BimetalError` for a file that is no snapshot, is damaged, or belongs to disks that
        have changed.
        """
        with Reader(fspath(path)) as reader:
            recipe = recipe_in(reader, trust=trust)
            board, options = find_board(recipe.board)
            recipe.config.options = options
            recipe.config.check(board.max_cpus, files=False)
            machine = cls.__new__(cls)
            if hvc is None and recipe.hvc:
                hvc = "none"
            model = ""
            if isinstance(accel, str):
                model = cpu_model or model_for(recipe, accel, reader.path)
            engine = Engine(accel, model, recipe.config.cpus, background)
            machine._put_together(board, recipe.config, engine, serial, hvc, clock)
            try:
                machine._parts.restoring = True
                runner = machine._built()
                check(reader, runner, machine._consoles)
                fill(reader, runner, machine._consoles, machine._service.reactor)
                if new_macs:
                    readdress(runner.hardware)
            except BaseException:
                machine._closing.close()
                raise
        return machine

    def load(self, path: str | PathLike[str], *, trust: bool = False) -> None:
        """Bring this machine to the state that `save` wrote to ``path``, whatever it does now: it
        goes on from there, or, if it was not started yet, with `start`. It must be a machine like
        the one that was saved, with the same board, memory, CPUs and devices, on the same disks;
        the accelerator may be another one. See `restore` for the file and the time.

        Devices that were plugged into that one, and not into this, are plugged in here; those that
        reach more of the host than disks that are what they were only if you ``trust`` who has made
        the file.

        Raises `BimetalError` for a file that is no snapshot, is damaged, or belongs to another
        machine or to disks that have changed, and then this machine is as it was. Where the host
        fails in the middle of it, the run ends.
        """
        with Reader(fspath(path)) as reader:
            runner = self._one_to_load()
            with standing(self._gate, self._clock):
                settle(runner)
                check_same(reader, self._recipe(runner))
                check_plugs(reader, plugged_in(runner), trust=trust)
                check(reader, runner, self._consoles)
                self._fill(reader, runner)

    def _one_to_load(self) -> Runner:
        """The runner of a machine that is to be brought to another state."""
        if self._gate.started:
            return self._running_one("no state can be loaded")
        self._parts.restoring = True  # what is built from now on needs no kernel
        return self._built()

    def _fill(self, reader: Reader, runner: Runner) -> None:
        """Load a state that was checked; if that fails, the run is over."""
        self._kept = None
        try:
            fill(reader, runner, self._consoles, self._service.reactor)
        except BimetalError as error:
            self._gate.end(Result(Ending.STOPPED, error.exit_code, error.cause))
            raise

    def _running_one(self, why: str) -> Runner:
        """The runner of a machine that has started and not ended. Raises `BimetalError`, which says
        ``why`` it matters."""
        self._gate.check_begun(why)
        if self._gate.over.is_set():
            raise BimetalError(
                f"the machine has {self._gate.state}: {why}", "do it while it runs", ExitCode.USAGE
            )
        self._jobs.check_idle()
        return self._built()

    def _recipe(self, runner: Runner) -> Recipe:
        options = [f"{name}={value}" for name, value in self.config.options.items()]
        return Recipe(
            board=",".join([self._board.name, *options]),
            config=self.config,
            model=self._engine.model,
            hvc=self.hvc is not None,
            accel=runner.accelerator.name,
            plugged=plugged_in(runner),
        )
