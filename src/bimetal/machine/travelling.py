"""Machines that go on in another process: a part of `Machine`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

from bimetal.backends.passage import Passage
from bimetal.base.clock import Countdown
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.arriving import Arrival
from bimetal.machine.core import no_way
from bimetal.machine.kept import KeptMachine
from bimetal.machine.leaving import Leaving
from bimetal.machine.progress import Moving, Pace
from bimetal.machine.runner import Runner
from bimetal.machine.snapshots import (
    check,
    check_alike,
    check_plugs,
    check_same,
    fill,
    standing,
)
from bimetal.machine.still import lent_by, name_of, plugged_in, settle
from bimetal.memory.contents import Lent
from bimetal.snapshot.stream import Refused

__all__ = ["Travelling"]

LAST_SECONDS, AGAIN_SECONDS = 2.0, 0.02
"""What the host may need to take apart a process that was killed; and after which one looks again
whether it has."""


class Travelling(KeptMachine):
    """Methods to leave this process, and to come here from another one."""

    resume: Callable[[], None]

    def leave(self, way: Passage, pace: Pace | None = None, moving: Moving | None = None) -> None:
        """Have the machine go on in the process at the other end of ``way``, which calls `arrive`
        for one like it, with the same disks. The guest runs on until little is left, and then
        stands still, for as long as ``pace`` allows if that can be. ``moving`` tells how far it is.

        When it returns the machine is there, and stands still here. If anything fails it goes on
        here, as if nothing had been, and `BimetalError` is raised; except that a machine of which
        no locks of disks tell where it is stays paused if it may be there: `come_back` says that it
        is not. The same happens if the machine is stopped or closed meanwhile. What has gone one
        way, into a file, say, or a pipe, is there when this returns.
        """
        runner = self._running_one("it cannot leave twice")
        self._jobs.bar()
        try:
            leaving = Leaving(
                *(runner, self._consoles, self._recipe(runner), way),
                *(pace or Pace(), moving or Moving()),
            )
        except BaseException:
            self._jobs.barred = False
            raise
        self._kept = None
        self._leaving = leaving
        stopped = False

        def stop() -> bool:
            nonlocal stopped
            stopped = self._pause()
            return stopped

        try:
            with self._moving_by(way), self._gate.on_over.with_(way.give_up):
                leaving.run(stop)
        except BaseException as error:
            heard = leaving.told and not isinstance(error, Refused)
            if not leaving.let_go or self._is_certainly_here(way, heard=heard):
                self._stay(leaving, stopped)
            raise
        finally:
            if not self.away or self._gate.over.is_set():
                leaving.close()

    def come_back(self) -> None:
        """Have a machine that has left be here again, paused. Raises `BimetalError` if it is in the
        other process by what its disks tell, which is wrong for one that has no disk."""
        leaving = self._leaving
        if leaving is None or not leaving.let_go:
            return
        runner = self._built()
        with self._gate.lock:
            self._check_not_over()
            taken = []
            try:
                for disk in lent_by(runner.hardware):
                    disk.take_again()
                    taken.append(disk)
            except OSError as error:
                for disk in taken:
                    disk.let_go()
                raise BimetalError(
                    f"the machine has gone to another process: {error.strerror or error}",
                    "end this one; or end that one, if it has not written to a disk",
                    ExitCode.UNAVAILABLE,
                ) from error
            leaving.let_go, self._leaving, self._jobs.barred = False, None, False
            runner.quiet(False)
        leaving.give_back()

    def await_arrival(self) -> None:
        """Leave the disks, to which the guest writes, to another process until `arrive` is called.
        To be said before it is built."""
        self.config.arriving = True

    def arrive(self, way: Passage, moving: Moving | None = None, *, trust: bool = False) -> None:
        """Be the machine that comes by ``way`` from a process that has called `leave`: with the
        same board, memory, CPUs and devices, on the same disks. It goes on with `start`, or is
        paused, if it was paused there.

        Devices that were plugged into that one, and not into this, are plugged in here; those that
        reach more of this host than disks that are what they were there only if you ``trust`` who
        sends it.

        Raises `BimetalError`, and then the other process still has it; this machine is closed if it
        has had its disks.
        """
        if self._gate.started or not self.config.arriving:
            raise BimetalError(
                "the machine does not wait for another one",
                "make one, and call await_arrival() first",
                ExitCode.USAGE,
            )
        with Arrival(way, moving or Moving()) as arrival, self._moving_by(way):
            try:
                self._receive(arrival, trust=trust)
            except OSError as error:
                raise BimetalError(
                    f"the machine does not arrive: {error.strerror or error}",
                    "send it once more",
                    ExitCode.IO_ERROR,
                ) from error

    @contextmanager
    def _moving_by(self, way: Passage) -> Iterator[None]:
        """A context in which `stop` and `close` end a move by ``way``."""
        self._way_out = way.give_up
        try:
            yield
        finally:
            self._way_out = no_way

    def _receive(self, arrival: Arrival, *, trust: bool) -> None:
        try:
            arrival.begin()
            runner = self._one_to_load()
            check_alike(arrival, self._recipe(runner))
            memories = runner.hardware.memories
            arrival.welcome({name_of(n, ram.name): ram.size for n, ram in enumerate(memories)})
            arrival.receive()
            check_plugs(arrival, plugged_in(runner), trust=trust)
            heard = arrival.take(decided=self._is_decided())
        except BaseException as error:
            arrival.refuse(error)
            raise
        try:
            with standing(self._gate, self._clock):
                self._check_not_over()
                _have_disks(runner, 0.0 if heard else LAST_SECONDS)
                self.config.arriving = False
                settle(runner)
                check_same(arrival, self._recipe(runner))
                check(arrival, runner, self._consoles)
                reactor = self._service.reactor
                fill(arrival, runner, self._consoles, reactor, anew=False)
        except BaseException as error:
            self._closing.close()  # the other side wants its disks back
            arrival.refuse(error)
            raise
        if arrival.manifest.get("paused") is True:
            self._pause()
        arrival.confirm()

    def _written(self) -> list[Lent]:
        """The disks to which the guest writes."""
        return [disk for disk in lent_by(self._built().hardware) if disk.writes]

    def _is_decided(self) -> bool:
        """Whether disks tell who has the machine, since nobody else can lock any of them."""
        disks = self._written()
        return bool(disks) and all(disk.exclusive for disk in disks)

    def _is_certainly_here(self, way: Passage, *, heard: bool) -> bool:
        """Whether a machine that was let go, but not confirmed, is not in the other process, which
        may have ``heard`` that it can have it, and has not said that it has not."""
        if heard and (way.both_ways or self._written()) and not self._is_decided():
            return False
        try:
            self.come_back()
        except BimetalError:
            return False
        return True

    def _stay(self, leaving: Leaving, stopped: bool) -> None:
        """Go on here; run, if it was ``stopped`` to leave."""
        self._leaving, self._jobs.barred = None, False
        try:
            if not self._gate.over.is_set():
                leaving.give_back()
        finally:
            if stopped and not self._gate.over.is_set():
                self.resume()

    def _check_not_over(self) -> None:
        if self._gate.over.is_set():
            raise BimetalError(f"the machine has {self._gate.state}", "", ExitCode.UNAVAILABLE)


def _have_disks(runner: Runner, seconds: float) -> None:
    """Have the disks. A process that has ended may still hold them, for so many ``seconds``:
    the host closes its connections first. Raises `BimetalError`."""
    countdown = Countdown(seconds)
    while True:
        try:
            for placement in runner.hardware.placements:
                placement.device.come_here()
            return
        except BimetalError:
            if not countdown.left:
                raise
            Event().wait(min(countdown.left, AGAIN_SECONDS))
