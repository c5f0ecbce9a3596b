"""The thread that waits for the host: timers of the clock, and descriptors of back ends."""

from __future__ import annotations

from bimetal.backends.reactor import Reactor
from bimetal.base.clock import Clock, Countdown
from bimetal.base.threads import EndingThread
from bimetal.machine.aside import Threads
from bimetal.machine.gate import VcpuGate
from bimetal.machine.lulls import Lulls

__all__ = ["Service"]


class Service:
    """Runs due timers and the reactor's callbacks, all under the machine's lock."""

    def __init__(self, gate: VcpuGate, clock: Clock):
        self._gate, self._clock = gate, clock
        self.reactor = Reactor(gate.lock)
        self.lulls = Lulls(self.reactor)
        self.aside = Threads(self.reactor.call, gate.fail)
        self._thread = EndingThread(self._main, "service")
        self._stopping = False
        clock.on_earlier = self.reactor.wake

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """End all threads; False if they have not ended in time. Idempotent."""
        countdown = Countdown(seconds)
        if not self.aside.stop(countdown.left):
            return False
        self._stopping = True
        self._clock.on_earlier = None
        if self._thread.ident is not None:
            self.reactor.wake()
        return self._thread.ended(countdown.left)

    def forked(self) -> None:
        """This process is a copy: have a thread of its own, which waits for nothing of the host."""
        self.reactor.forked()
        self.lulls.forked()
        self.aside.forked()
        self._clock.on_earlier = self.reactor.wake
        self._thread = EndingThread(self._main, "service")

    def close(self) -> None:
        """Give the reactor's descriptor back, once the thread has ended. Idempotent."""
        self.reactor.close()

    def _main(self) -> None:
        try:
            while not self._stopping:
                self.reactor.turn(self._timers())
        except BaseException as failure:
            self._gate.fail(failure)

    def _timers(self) -> float | None:
        """Run what is due, and say in how many seconds the next timer is."""
        with self._gate.lock:
            if self._gate.paused or self._gate.over.is_set():
                return None  # the clock stands still
            self._clock.run_due()
            deadline = self._clock.next_deadline()
            return None if deadline is None else self._clock.host_seconds(deadline)
