"""Copies of a running machine, each in a copy of this process (fork(2)).

Memory, decoded pages and translated code are shared with the original until one of them is written
to, and keep their addresses, so a copy executes as soon as its threads have begun. Threads are not
copied: those of the machine stand still at the moment of the fork, and are made anew.
"""

from __future__ import annotations

import gc
import os
import re
import signal
import warnings
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.forwarded import Forwarded
from bimetal.base.importing import no_import_under_way
from bimetal.base.threads import Lock
from bimetal.machine.cables import DETACHED, Copying, forwards_of, leases_of
from bimetal.machine.fork import Fork, Forks
from bimetal.machine.gate import VcpuGate
from bimetal.machine.kept_inside import KeptInside
from bimetal.machine.pool import Pool
from bimetal.machine.runner import Runner
from bimetal.machine.snapshots import standing
from bimetal.machine.still import settle
from bimetal.machine.talk import Asker, answer, tell_beginning, tell_failure
from bimetal.memory.heap import give_back_heap
from bimetal.seam import Forkable

__all__ = ["Forking"]

MOST = 10_000

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Those by which people end programs."""

LATE_NS = 100_000_000
"""After which a copy does what can wait: many do not last as long."""

IMPORT_SECONDS = 2.0
"""For which a copy waits until other threads have imported what they are importing."""

_TURN = Lock()
"""Held while a copy and its pipes are made. Otherwise a copy that another thread makes of another
machine would hold ends of these pipes too, and nobody would hear of the end of this one."""


class Forking(KeptInside):
    """The part of `Machine` that multiplies."""

    def fork(
        self,
        count: int = 1,
        work: Callable[[Any, int], object] | None = None,
        *,
        networks: str = DETACHED,
        new_macs: bool = False,
    ) -> Forks:
        """``count`` machines that go on from here as this one does, each in a process of its own.

        They share its memory and its compiled code, until one changes its own. Disks with
        ``snapshot`` go on from what they are, each in its own way; those that are only read are
        shared; one to which the guest writes itself cannot be forked. The consoles lead nowhere but
        to the `Fork`.

        NICs are unplugged; with ``networks="forked"`` each has a user network of the fork's own, in
        which connections of before are reset, or is a member of the same multicast group. Then its
        forwarded ports are any free ones of the host: see `Fork.forwards`. With ``new_macs`` NICs
        have addresses of their own, which the guest's driver finds when it begins anew.

        With ``work``, each process calls ``work(vm, number)`` with its own `Machine`, started and
        running, and ends when that returns; otherwise it does what its `Fork` says. In a fork,
        nothing of this program goes on but that: no other thread, no other machine.

        This machine stands still until all of them have begun. Raises `BimetalError` if it has not
        started or is of a kind that cannot be copied, and if one of them cannot begin: then there
        is none.
        """
        self._gate.check_begun("there is nothing to fork")
        self._jobs.check_idle()
        runner = self._built()
        accelerator = _forkable(self._gate, runner, count)
        copying = Copying(networks, new_macs)
        copying.check(runner.hardware)
        devices = [placement.device for placement in runner.hardware.placements]
        for device in devices:
            device.check_forkable()
        forks = Forks()
        with standing(self._gate, self._clock), accelerator.quiet():
            settle(runner)
            for device in devices:
                device.stack()
            give_back_heap()  # the host copies page tables for it
            gc.freeze()  # or else the collector would write to every object of every copy
            try:
                renewals = [device.forked for device in devices if device.renews]
                begin = partial(self._begin_anew, runner, accelerator, copying, renewals)
                while len(forks) < count:
                    self._fork(forks, begin, work)
                forks.await_beginning()  # they begin sooner while this one takes no processor
            except BaseException:
                forks.close()
                raise
            finally:
                gc.unfreeze()
        return forks

    def pool(self, ready: int = 1, *, networks: str = DETACHED, new_macs: bool = False) -> Pool:
        """Forks on demand, of the state in which the machine is now, in which it is paused as long
        as there is the `Pool`; ``ready`` of them are kept in advance. Otherwise as `fork`."""
        make = partial(self.fork, networks=networks, new_macs=new_macs)
        return Pool(self, make, ready)  # type: ignore[arg-type]  # a Machine, which has all of it

    def leases(self) -> list[tuple[str, str]]:
        """The IPv4 addresses that user networks have handed out: to which card, and the address
        with the length of its prefix."""
        runner = self._built()
        with runner.locked():
            return leases_of(runner.hardware)

    @property
    def forwards(self) -> list[Forwarded]:
        """The ports of the host that lead to the guest, on user networks."""
        runner = self._built()
        with runner.locked():
            return forwards_of(runner.hardware)

    def _fork(
        self,
        forks: Forks,
        begin: Callable[[], Runner],
        work: Callable[[Any, int], object] | None,
    ) -> None:
        """Make one more. Signals wait meanwhile: in the copy until it has its own answers to them,
        or what is on its way from here would end in a program that is not its own."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            with _TURN:
                pid, (theirs, requests, answers, ours) = _copied()
                for fd in (theirs, ours) if pid else (requests, answers):
                    os.close(fd)
                if pid:
                    forks.append(Fork(pid, Asker(requests, answers)))
            if not pid:
                self._live(mask, begin, len(forks), work, theirs, ours)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    # In the copy

    def _live(
        self,
        mask: Collection[int],
        begin: Callable[[], Runner],
        number: int,
        work: Callable[[Any, int], object] | None,
        requests: int,
        answers: int,
    ) -> NoReturn:
        """Be the copy, until nobody wants it any more; ``mask`` are the signals that wait."""
        code = int(ExitCode.INTERNAL)
        try:
            _have_own_signals(mask)
            _set_out(begin, answers)
            if work is not None:
                work(self, number)
            else:
                answer(requests, answers, self._tasks())
            code = 0
        except BaseException as failure:
            with suppress(BaseException):
                os.write(2, f"bimetal: a forked machine failed: {failure!r}\n".encode())
        finally:
            os._exit(code)

    def _begin_anew(
        self,
        runner: Runner,
        accelerator: Forkable,
        copying: Copying,
        renewals: list[Callable[[], None]],
    ) -> Runner:
        gate = self._gate
        paused = gate.paused
        gate.forked()
        gate.on_over.add(self._clock.pause)
        self._service.forked()
        for viewer in self._closing.viewers:
            viewer.forked()
        self._closing.viewers.clear()
        for console in self._consoles:
            console.forked()
            gate.on_over.add(console.wake)
        for renew in renewals:
            renew()
        copying.begin(runner.hardware, self._service.reactor)
        accelerator.forked()
        later = self._service.reactor.clock
        later.timer(accelerator.begun).arm(later.now_ns() + LATE_NS)
        for vcpu in runner.vcpus:
            vcpu.forked()
        if not paused:
            self._clock.resume()
        return runner

    def _tasks(self) -> dict[str, Callable[..., Any]]:
        """What a `Fork` can ask."""
        vm: Any = self
        return {
            "send": vm.console.send,
            "expect": self._expect,
            "read": vm.console.read,
            "log": lambda: vm.console.log,
            "wait": self._wait,
            "running": lambda: vm.running,
            "stop": vm.stop,
            "pause": vm.pause,
            "resume": vm.resume,
            "reset": vm.reset,
            "save": lambda path, stop, compress: vm.save(path, stop=stop, compress=compress),
            "read_memory": lambda address, length: vm.memory.read(address, length),
            "write_memory": lambda address, data: vm.memory.write(address, data),
            "forwards": lambda: [list(each) for each in vm.forwards],
            "read_register": lambda cpu, name: vm.cpus[cpu][name],
        }

    def _expect(self, wanted: Any, milliseconds: int) -> list[Any]:
        pattern = re.compile(*wanted) if isinstance(wanted, list) else wanted
        found = self.console.expect(pattern, milliseconds / 1000)
        return [found.text, list(found.groups), found.before]

    def _wait(self, milliseconds: int) -> list[Any] | None:
        if not self._gate.over.wait(milliseconds / 1000):
            return None
        self._check_failure()
        result = self._gate.result
        assert result is not None
        return [result.ending.value, result.code, result.message, result.details]


def _copied() -> tuple[int, list[int]]:
    """Copy this process: the copy's number, 0 in the copy; and the ends of two pipes, of each that
    to read first. Raises `BimetalError`."""
    ends = list[int]()
    try:
        ends += os.pipe2(os.O_CLOEXEC)
        ends += os.pipe2(os.O_CLOEXEC)
        with warnings.catch_warnings(), no_import_under_way(IMPORT_SECONDS):
            # Other threads: those of the machine stand still, and no other is needed.
            warnings.simplefilter("ignore", DeprecationWarning)
            return os.fork(), ends
    except OSError as error:
        for fd in ends:
            os.close(fd)
        raise BimetalError(
            f"the host makes no more processes: {error.strerror}",
            "fork fewer, or close some",
            ExitCode.UNAVAILABLE,
        ) from error


def _set_out(begin: Callable[[], Runner], answers: int) -> None:
    """Have the machine go on in this process, and tell who asks; where that cannot be, end."""
    try:
        runner = begin()
        Asker.forked()
        # From here on the guest competes for the host's processors and Python's lock.
        runner.go_on()
    except BimetalError as error:
        tell_failure(answers, error)
        os._exit(int(error.exit_code))
    tell_beginning(answers)


def _have_own_signals(mask: Collection[int]) -> None:
    """Leave Ctrl-C to the original, which ends its copies, and be ended by other signals, from now
    on; only those in ``mask`` wait."""
    with suppress(ValueError):  # not the main thread: handlers of the program's stay
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN if each == signal.SIGINT else signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _forkable(gate: VcpuGate, runner: Runner, count: int) -> Forkable:
    """The accelerator of a machine of which so many copies can be made. Raises `BimetalError`."""
    if not 1 <= count <= MOST:
        raise BimetalError(f"{count} forks", f"fork 1 to {MOST} at once", ExitCode.USAGE)
    if gate.over.is_set() or not isinstance(runner.accelerator, Forkable):
        why = "it has ended" if gate.over.is_set() else f"{runner.accelerator.name} runs it"
        raise BimetalError(
            f"the machine cannot be forked: {why}",
            "fork one that jit or interp runs",
            ExitCode.UNAVAILABLE,
        )
    return runner.accelerator
