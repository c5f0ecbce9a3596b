"""An emulator with a machine: from power on to the end, which a client, the guest or a signal
wants."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from queue import SimpleQueue
from uuid import uuid4

from bimetal.control.emulator.daemon import TERMINATE, Daemon
from bimetal.control.emulator.furnishing import furnish
from bimetal.control.emulator.making import monitor_places, new_machine
from bimetal.control.emulator.order import Order
from bimetal.control.emulator.viewing import let_in
from bimetal.control.events import CauseData, Event, ShutdownCause
from bimetal.control.monitor import Monitor
from bimetal.control.readiness import Readiness
from bimetal.machine.events import EventKind, MachineEvent
from bimetal.machine.result import Ending, Result

__all__ = ["run"]

AGAIN, ARRIVED = "again", "arrived"
"""What happens besides the events that clients are told of."""
DEFERRED = "defer"
"""What stands behind ``-incoming`` if it is said later where the machine comes from."""


def run(
    order: Order, daemon: Daemon, news: SimpleQueue[str], read_again: Callable[[], Order]
) -> int:
    """Run the machine that was ordered; the exit code of the process. Signals are among the
    ``news``, and ``read_again`` makes the same order anew. Raises `BimetalError`."""
    return _Emulator(order, news, read_again).run(daemon)


class _Emulator:
    """The machine of ``order``, and those that come after it when a client resets one that its
    guest has switched off."""

    def __init__(self, order: Order, news: SimpleQueue[str], read_again: Callable[[], Order]):
        self._order, self._news, self._read_again = order, news, read_again
        self._there_again = threading.Event()
        self._ears = ExitStack()

    def run(self, daemon: Daemon) -> int:
        """From power on to the end."""
        order = self._order
        with ExitStack() as stack:
            machine, label = new_machine(order)
            stack.callback(machine.close)
            if order.incoming:
                machine.await_arrival()
            monitor = Monitor(
                machine,
                monitor_places(order),
                people=monitor_places(order, people=True),
                name=order.name,
                uuid=order.uuid or uuid4(),
                target=order.target,
            )
            stack.callback(self._close, monitor)
            monitor.vm.console_label = label
            monitor.vm.revive = self._revive if order.stays else None
            furnish(order, monitor)
            if machine.console.where.startswith("/dev/"):
                there = f"char device redirected to {machine.console.where} (label {label})"
                print(there, file=sys.stderr, flush=True)
            let_in(order, monitor.vm)
            monitor.vm.on_event.add(lambda event: self._news.put(event.name))
            monitor.vm.begun.clear()
            monitor.start()
            stack.callback(self._ears.close)
            self._listen(monitor)
            if not self._await_client(monitor):
                return tell(Result(Ending.STOPPED))
            self._begin(monitor)
            monitor.vm.begun.set()
            daemon.ready()
            stack.enter_context(Readiness())
            return self._follow(monitor)

    def _await_client(self, monitor: Monitor) -> bool:
        """Wait until a client is there, if that is wanted; False if a signal comes first."""

        def wait() -> None:
            monitor.wait_for_client()
            self._news.put(ARRIVED)

        threading.Thread(target=wait, name="arrival", daemon=True).start()
        while True:
            if (news := self._news.get()) in (ARRIVED, TERMINATE):
                return news == ARRIVED

    def _begin(self, monitor: Monitor) -> None:
        """Start the machine, unless it waits for a state."""
        vm, machine = monitor.vm, monitor.vm.machine
        if self._order.incoming:
            vm.awaits_state, vm.starts_paused = True, self._order.paused
            if self._order.incoming != DEFERRED:
                vm.ends_without_state = True
                monitor.execute("migrate-incoming", uri=self._order.incoming)
            return
        if self._order.loadvm:
            machine.loadvm(self._order.loadvm)
        if self._order.paused:
            machine.pause()
        machine.start()

    def _close(self, monitor: Monitor) -> None:
        """Close the machine that is there now, too."""
        monitor.close()
        monitor.vm.machine.close()
        monitor.vm.handed.close()

    def _follow(self, monitor: Monitor) -> int:
        """Wait for the end; the exit code."""
        while True:
            result = self._end_of_run(monitor)
            if not self._order.stays or result.ending is Ending.STOPPED:
                return tell(result)
            if not self._is_wanted_again(monitor):
                return tell(result)
            self._start_anew(monitor)
            self._there_again.set()

    def _listen(self, monitor: Monitor) -> None:
        """Have clients hear that the machine stands still, if it stays, once they have heard that
        it is off: in the thread that tells them that."""
        vm, machine = monitor.vm, monitor.vm.machine

        def happened(event: MachineEvent) -> None:
            result = machine.result if event.kind is EventKind.OVER else None
            if self._order.stays and result is not None and result.ending is not Ending.STOPPED:
                vm.on_event(Event("STOP"))

        self._ears.close()
        self._ears.enter_context(machine.on_event(happened))

    def _end_of_run(self, monitor: Monitor) -> Result:
        vm, machine = monitor.vm, monitor.vm.machine
        while not machine.running and vm.is_to_come:
            if self._news.get() == TERMINATE or vm.quitted:
                if vm.failure is not None:
                    raise vm.failure
                return Result(Ending.STOPPED)
        while machine.running:
            if self._news.get() == TERMINATE:
                monitor.signalled()
                machine.stop()
        return machine.wait()

    def _is_wanted_again(self, monitor: Monitor) -> bool:
        """Wait until a client resets the machine that is off: True, or until it is time to go."""
        while not monitor.vm.quitted:
            match self._news.get():
                case name if name == AGAIN:
                    return True
                case name if name == TERMINATE:
                    data = CauseData(guest=False, reason=ShutdownCause.HOST_SIGNAL)
                    monitor.vm.on_event(Event("SHUTDOWN", data))
                    return False
        return False

    def _revive(self) -> None:
        """A client resets the machine, which is off: return once it is there again, and stopped."""
        self._there_again.clear()
        self._news.put(AGAIN)
        self._there_again.wait()

    def _start_anew(self, monitor: Monitor) -> None:
        """A machine like the first one, in its place."""
        monitor.vm.machine.close()
        order = self._read_again()
        machine, _ = new_machine(order)
        monitor.vm.adopt(machine)
        self._listen(monitor)
        furnish(order, monitor)
        machine.pause()
        machine.start()
        data = CauseData(guest=False, reason=ShutdownCause.HOST_QMP_SYSTEM_RESET)
        monitor.vm.on_event(Event("RESET", data))


def tell(result: Result) -> int:
    """Say why a run ended that the guest did not end in order; the exit code."""
    if result.message and result.ending is not Ending.STOPPED:
        print(f"bimetal: {result}", file=sys.stderr, flush=True)
    if result.details:
        print(result.details, file=sys.stderr, flush=True)
    return 0 if result.ending is Ending.STOPPED else result.code
