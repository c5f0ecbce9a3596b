"""A machine for programs that use asyncio: the methods that wait, as coroutines.

async with AsyncMachine(Machine(kernel="Image", append="console=ttyS0")) as vm:
    await vm.start()
    await vm.console.expect("# ")
    await vm.console.sendline("poweroff")
    print(await vm.wait())
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from bimetal.machine.console import GATHER_SECONDS, Console
from bimetal.machine.expect import Found, Waits, still_runs
from bimetal.machine.machine import Machine
from bimetal.machine.result import Result

__all__ = ["AsyncConsole", "AsyncMachine"]

Args = ParamSpec("Args")
Answer = TypeVar("Answer")


class AsyncMachine:
    """Waits for the start, the end and the consoles of ``machine`` without blocking the event loop.

    For everything else, use ``machine`` itself. A cancelled call leaves the machine as it is, and a
    cancelled `AsyncConsole.expect` consumes no output. ``async with`` closes the machine.
    """

    def __init__(self, machine: Machine):
        self.machine = machine
        self.console = AsyncConsole(machine.console)
        self.hvc = None if machine.hvc is None else AsyncConsole(machine.hvc)

    def __repr__(self) -> str:
        return f"<AsyncMachine of {self.machine!r}>"

    async def start(self) -> None:
        """See `Machine.start`. A cancellation takes effect once the machine has started."""
        await _in_thread(self.machine.start)

    async def wait(self, timeout: float | None = None) -> Result:
        """See `Machine.wait`."""
        news = _News()
        with self.machine.at_end(news.tell):
            if self.machine.running:
                await news.wait(timeout)
            if self.machine.running and timeout is not None:
                raise still_runs(timeout)
        return self.machine.wait()

    async def stop(self) -> None:
        """See `Machine.stop`."""
        await _in_thread(self.machine.stop)

    async def close(self) -> None:
        """See `Machine.close`."""
        await _in_thread(self.machine.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        await self.close()


class AsyncConsole:
    """Waits for output of ``console`` without blocking the event loop."""

    def __init__(self, console: Console):
        self.console = console

    def __repr__(self) -> str:
        return f"<AsyncConsole of {self.console!r}>"

    async def expect(self, wanted: Waits, timeout: float | None = 60) -> Found:
        """See `Console.expect`. If it is cancelled, the next call finds all output."""
        news = _News()
        with self.console.search(wanted, timeout, news.tell) as search:
            while True:
                news.clear()
                found = search.look(patient=False)
                if found is not None:
                    return found
                await news.wait(search.left)
                await asyncio.sleep(GATHER_SECONDS)

    async def send(self, text: str | bytes) -> None:
        """See `Console.send`."""
        await _in_thread(self.console.send, text)

    async def sendline(self, text: str | bytes = "", end: str = "\n") -> None:
        """See `Console.sendline`."""
        await _in_thread(self.console.sendline, text, end)


class _News:
    """An asyncio event that any thread may set."""

    def __init__(self) -> None:
        self._loop, self._event = asyncio.get_running_loop(), asyncio.Event()
        self._told = False

    def tell(self) -> None:
        """Let `wait` return, now or when it is next called."""
        if not self._told:
            self._told = True
            with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                self._loop.call_soon_threadsafe(self._event.set)

    def clear(self) -> None:
        """Reset the event."""
        self._event.clear()
        self._told = False

    async def wait(self, seconds: float | None) -> None:
        """Wait until `tell` is called, for at most ``seconds``."""
        # Not asyncio.wait_for(): Python 3.11's may swallow a cancellation.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()


async def _in_thread(
    call: Callable[Args, Answer], *args: Args.args, **named: Args.kwargs
) -> Answer:
    """The result of ``call`` in a thread. A cancelled caller waits until the thread is done."""
    work = asyncio.ensure_future(asyncio.to_thread(call, *args, **named))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait((work,))
        work.exception()  # retrieved, or asyncio would log that nobody did
        raise
