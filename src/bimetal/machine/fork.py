"""A machine that goes on in a process of its own, as the program that forked it sees it."""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from os import PathLike, fspath

from bimetal.base.clock import Countdown, monotonic_seconds
from bimetal.base.closes import Closes
from bimetal.base.forwarded import Forwarded
from bimetal.machine.expect import Found, TimedOut, Waits, still_runs
from bimetal.machine.result import Ending, Result
from bimetal.machine.talk import Asker

__all__ = ["Fork", "ForkConsole", "Forks"]

SLICE = 0.25
"""Seconds that a question waits for in the other process: others have their turn in between."""

END_SECONDS = 5.0


class ForkConsole:
    """The console of a forked machine, as `Console` for others. What was printed before the fork
    was printed here too."""

    def __init__(self, asker: Asker):
        self._ask = asker.ask

    def send(self, text: str | bytes) -> None:
        """See `Console.send`."""
        self._ask("send", text)

    def sendline(self, text: str | bytes = "", end: str = "\n") -> None:
        """See `Console.sendline`."""
        data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
        self.send(data + end.encode())

    def expect(self, wanted: Waits, timeout: float | None = 60) -> Found:
        """See `Console.expect`."""
        pattern = [wanted.pattern, wanted.flags] if isinstance(wanted, re.Pattern) else wanted
        end = None if timeout is None else monotonic_seconds() + timeout
        while True:
            left = SLICE if end is None else min(SLICE, max(0.0, end - monotonic_seconds()))
            try:
                text, groups, before = self._ask("expect", pattern, round(left * 1000))
            except TimedOut as error:
                if end is None or monotonic_seconds() < end:
                    continue
                cause = re.sub(r"for [\d.]+ s$", f"for {timeout:g} s", error.cause)
                raise TimedOut(cause, error.remedy, error.exit_code) from None
            return Found(text, tuple(groups), before)

    def read(self) -> str:
        """See `Console.read`."""
        return str(self._ask("read"))

    @property
    def log(self) -> str:
        """See `Console.log`."""
        return str(self._ask("log"))


class Fork(Closes):
    """A machine in the process ``pid``, which goes on as soon as it is made, and ends with `close`
    or with this process. It is a context manager, as `Machine` is."""

    def __init__(self, pid: int, asker: Asker):
        self.pid, self._asker, self._ask = pid, asker, asker.ask
        self.console = ForkConsole(asker)
        self._reaped = False

    def __repr__(self) -> str:
        return f"<Fork in process {self.pid}>"

    def wait(self, timeout: float | None = None) -> Result:
        """See `Machine.wait`."""
        end = None if timeout is None else monotonic_seconds() + timeout
        while True:
            left = SLICE if end is None else min(SLICE, max(0.0, end - monotonic_seconds()))
            found = self._ask("wait", round(left * 1000))
            if found is not None:
                ending, code, message, details = found
                return Result(Ending(ending), code, message, details)
            if timeout is not None and end is not None and monotonic_seconds() >= end:
                raise still_runs(timeout)

    @property
    def running(self) -> bool:
        """See `Machine.running`."""
        return bool(self._ask("running"))

    @property
    def forwards(self) -> list[Forwarded]:
        """See `Machine.forwards`."""
        return [Forwarded(*each) for each in self._ask("forwards")]

    def stop(self) -> None:
        """See `Machine.stop`."""
        self._ask("stop")

    def pause(self) -> None:
        """See `Machine.pause`."""
        self._ask("pause")

    def resume(self) -> None:
        """See `Machine.resume`."""
        self._ask("resume")

    def reset(self) -> None:
        """See `Machine.reset`."""
        self._ask("reset")

    def save(
        self, path: str | PathLike[str], *, stop: bool = False, compress: bool = False
    ) -> None:
        """See `Machine.save`."""
        self._ask("save", os.path.abspath(fspath(path)), stop, compress)

    def read_memory(self, address: int, length: int) -> bytes:
        """A copy of guest-physical memory; see `MemoryView.read`."""
        return bytes(self._ask("read_memory", address, length))

    def write_memory(self, address: int, data: bytes) -> None:
        """Change guest-physical memory; see `MemoryView.write`."""
        self._ask("write_memory", address, data)

    def read_register(self, cpu: int, name: str) -> int:
        """A register of a CPU."""
        return int(self._ask("read_register", cpu, name))

    def close(self) -> None:
        """End the machine and its process. Idempotent."""
        self._asker.close()
        if self._reaped:
            return
        countdown = Countdown(END_SECONDS)
        while not self._gone():
            if not countdown.left:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
                with suppress(ChildProcessError):
                    os.waitpid(self.pid, 0)
                self._reaped = True

    def _gone(self) -> bool:
        if not self._reaped:
            try:
                found, _ = os.waitpid(self.pid, os.WNOHANG)
                self._reaped = found == self.pid
            except ChildProcessError:  # somebody else has asked for all children
                self._reaped = True
        return self._reaped


class Forks(list[Fork], Closes):
    """Forked machines; as a context manager it closes them."""

    def await_beginning(self) -> None:
        """Return once all have begun. Raises the `BimetalError` by which one cannot."""
        for fork in self:
            fork._asker.hear_beginning()

    def close(self) -> None:
        """Close all. Idempotent."""
        for fork in self:
            fork._asker.close()
        for fork in self:
            fork.close()
