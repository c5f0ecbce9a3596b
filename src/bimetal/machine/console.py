"""The machine's console: a serial line shared by a person, a program and firmware calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bimetal.backends.chars.null import NoChars
from bimetal.backends.chars.protocol import CharBackend
from bimetal.backends.chars.ring import Ring
from bimetal.backends.chars.stdio import Stdio
from bimetal.backends.chars.tee import Tee
from bimetal.backends.reactor import Reactor
from bimetal.base.clock import LONGEST_WAIT, RealClock
from bimetal.base.errors import BimetalError
from bimetal.base.state import BadState, Stateful
from bimetal.machine.expect import EndOfRun, Found, TimedOut, Waits, Wanted, as_text
from bimetal.machine.gate import VcpuGate
from bimetal.machine.listeners import Listeners

__all__ = ["GATHER_SECONDS", "Console", "ConsoleLine", "Search"]

FIRMWARE_INPUT_LIMIT = 256
"""The most bytes of input kept for firmware calls, while the guest reads the console by these."""

TAIL = 20
"""Lines of output that an error message shows."""

LOCK_SECONDS = 1.0
"""Seconds that `close` waits for the machine's lock."""

GATHER_SECONDS = 0.005
"""Seconds between two searches of the output at least, because output comes byte by byte."""


class ConsoleLine(Stateful):
    """The line between the guest's end, a serial port, and the far ``end``.

    Firmware calls may read and write the same line. Input goes to whoever asked for it last: the
    serial port, until the guest reads by a firmware call, and again once it reads the port.
    """

    saved = ("_by_firmware", "_waiting", "_port_used")
    fixed = ("_end", "_receive", "_port_room", "on_input", "withdraw", "size", "on_resize")

    def __init__(self, end: CharBackend):
        self._end = end
        self._receive: Callable[[bytes], None] | None = None
        self._port_room: Callable[[], int] | None = None
        self._by_firmware = False
        self._waiting = bytearray()
        self.on_input: Callable[[], None] | None = None
        """Callback: there is input for firmware calls."""
        self.withdraw: Callable[[], bytes] | None = None
        """Callback: take back input that the serial port has and the guest has not read."""
        self._port_used = False
        self.size: tuple[int, int] | None = None
        """Columns and rows of the terminal that the guest is told about; None if there is none."""
        self.on_resize: Callable[[int, int], None] | None = None
        end.connect(self._deliver, self._room)

    def lead_to(self, end: CharBackend) -> None:
        """Have another far end from now on."""
        self._end = end
        end.connect(self._deliver, self._room)

    def write(self, data: bytes) -> None:
        """Write output of the serial port or of a firmware call."""
        self._end.write(data)

    def connect(
        self, receive: Callable[[bytes], None], room: Callable[[], int] | None = None
    ) -> None:
        """Connect the serial port: ``receive`` takes input, ``room`` says how many bytes fit."""
        self._receive, self._port_room = receive, room

    def resume(self) -> None:
        """The guest has read the serial port, which has room again."""
        self._by_firmware, self._port_used = False, True
        if self._waiting and self._receive is not None:
            data = bytes(self._waiting[: self._room()])
            del self._waiting[: len(data)]
            self._receive(data)
        if not self._waiting:
            self._end.resume()

    def reset(self) -> None:
        """The machine is reset: the guest has read nothing yet."""
        self._port_used = False

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has this size now."""
        self.size = columns, rows
        if self.on_resize is not None:
            self.on_resize(columns, rows)

    def take(self, limit: int) -> bytes:
        """Take input for a firmware call, at most ``limit`` bytes."""
        if not self._by_firmware:
            self._by_firmware = True
            if self.withdraw is not None and not self._port_used:
                self._waiting += self.withdraw()  # typed before the guest asked
            self._end.resume()
        data = bytes(self._waiting[:limit])
        del self._waiting[: len(data)]
        if data:
            self._end.resume()
        return data

    def _room(self) -> int:
        if self._by_firmware:
            return FIRMWARE_INPUT_LIMIT - len(self._waiting)
        if self._receive is None:
            return 0
        return len(self._waiting) + 1 if self._port_room is None else self._port_room()

    def _deliver(self, data: bytes) -> None:
        if self._by_firmware or self._receive is None:
            self._waiting += data
            if self.on_input is not None:
                self.on_input()
        else:
            self._receive(data)


class Console:
    """The console as a program uses it. Its methods may be called from any thread.

    Output is kept in a ring of some megabytes; what `expect` and `read` have returned is not
    returned again. ``name`` says where the far end is.
    """

    def __init__(self, end: CharBackend, gate: VcpuGate, name: str = ""):
        self.name = name or type(end).__name__
        self._gate, self.lock = gate, gate.lock
        self._ring = Ring()
        self._ring.on_output = self.wake
        self._end = end
        self.line = ConsoleLine(Tee(self._ring, end))
        self._position = 0
        self._listeners: Listeners[[]] = Listeners()

    def __repr__(self) -> str:
        return f"<console {self.name}: {self._ring.total:,} bytes of output>"

    @property
    def where(self) -> str:
        """Where to reach its far end: the path of a pseudo-terminal, ``tcp:HOST:PORT`` with the
        port that was chosen, ``unix:PATH``, ``file:PATH``; "" if nowhere."""
        return self._end.where

    @property
    def log(self) -> str:
        """All output that is still in the ring."""
        with self.lock:
            return as_text(self._ring.output)

    def send(self, text: str | bytes) -> None:
        """Type ``text``. Raises `BimetalError` if the guest has not read what was typed before."""
        data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
        with self.lock:
            taken = self._ring.send(data)
        if taken < len(data):
            raise BimetalError(
                f"the guest took only {taken} of {len(data)} bytes typed",
                "send less at once, and wait for the guest's answer in between",
            )

    def sendline(self, text: str | bytes = "", end: str = "\n") -> None:
        """Type ``text`` and a line's ``end``, as `send` does. Linux takes any; some firmware (UEFI)
        wants ``end="\\r"``, which is what the Enter key sends."""
        data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
        self.send(data + end.encode())

    def pipe(self, after: str, at_end: str) -> None:
        """If the far end is standard input and not a terminal, start to read it once the guest has
        printed ``after``, and at its end type ``at_end`` repeatedly, because a serial line has no
        lasting end of input. Call before the start."""
        if isinstance(self._end, Stdio):
            self._end.piped.after, self._end.piped.at_end = after.encode(), at_end.encode()

    def show_size_to(self, line: ConsoleLine) -> bool:
        """Tell the guest the size of the terminal at the far end, now and after changes, through
        ``line``. False if the far end is not a terminal. Call before the start."""
        if not isinstance(self._end, Stdio) or self._end.size is None:
            return False
        line.size = self._end.size
        self._end.follow_size(line.resize)
        return True

    def read(self) -> str:
        """The output since the last call of `read` or `expect`."""
        with self.lock:
            data = self._ring.since(self._position)
            self._position = self._ring.total
        return as_text(data)

    def expect(self, wanted: Waits, timeout: float | None = 60) -> Found:
        """Wait until the output shows ``wanted``: a text as it stands, or a compiled regular
        expression.

        Raises `TimedOut`, a TimeoutError, after ``timeout`` seconds, and `EndOfRun` when the run
        ends; both show the last lines of output. Raises `BimetalError` before the start.
        """
        news = threading.Event()

        def heard() -> None:
            if not news.is_set():
                news.set()

        with self.search(wanted, timeout, heard) as search:
            while True:
                news.clear()
                found = search.look()
                if found is not None:
                    return found
                if news.wait(search.left):
                    self._gate.over.wait(GATHER_SECONDS)

    @contextmanager
    def search(
        self, wanted: Waits, timeout: float | None, heard: Callable[[], None]
    ) -> Iterator[Search]:
        """The search behind `expect`, as a context; ``heard`` is called, in any thread, when there
        is something new to search."""
        self._gate.check_begun("nothing is shown yet")
        with self._listeners.with_(heard):
            yield Search(self, wanted, timeout, heard)

    def attempt(self, wish: Wanted, timeout: float | None, late: bool) -> Found | None:
        """Find ``wish`` in the unread output. Call with the machine's lock held.

        Raises what `expect` raises if no more output can come, or it is too ``late``."""
        data = self._ring.since(self._position)
        place = wish.find(data)
        if place is not None:
            found, end = place
            self._position = self._ring.total - len(data) + end
            return found
        over = self._gate.over.is_set()
        if not (over or late):
            return None
        lines = as_text(self._ring.output).splitlines()[-TAIL:] or ["(no output at all)"]
        remedy = "\n".join([*wish.hints(data), "its last lines are:", *lines])
        if not over:
            why = f"nothing like it came for {timeout:g} s"
            raise TimedOut(f"the console did not show {wish}: {why}", remedy)
        why = f"the machine has {self._gate.state}"
        error = EndOfRun(f"the console did not show {wish}: {why}", remedy)
        error.result = self._gate.result
        raise error from self._gate.failure

    def save(self) -> dict[str, Any]:
        """What was typed and not read, for a snapshot. Call with the machine's lock held."""
        return {"line": self.line.save(), "typed": self._ring.typed}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `save` returned. Raises ValueError."""
        if not isinstance(state, Mapping) or not isinstance(state.get("typed"), bytes):
            raise BadState("a console that nobody has typed at")
        self.line.load(state["line"])
        self._ring.retype(state["typed"])

    def attach(self, reactor: Reactor) -> None:
        """Read the far end's input through ``reactor``."""
        self._end.attach(reactor)

    def wake(self) -> None:
        """Wake threads in `expect`, to look again."""
        self._listeners()

    def forked(self) -> None:
        """This process is a copy: the far end is the other one's, and programs here have only what
        was printed before."""
        self._end, self.name = NoChars(), ""
        self.line.lead_to(self._ring)
        self._listeners = Listeners()

    def close(self) -> None:
        """Close the far end. Output stays readable. Idempotent."""
        # A thread that is stuck in a device must not keep a terminal in raw mode.
        locked = self.lock.acquire(timeout=LOCK_SECONDS)
        try:
            self._end.close()
        finally:
            if locked:
                self.lock.release()


class Search:
    """A search for text that a console is to show within ``timeout`` seconds from now."""

    def __init__(
        self, console: Console, wanted: Waits, timeout: float | None, heard: Callable[[], None]
    ):
        self._console, self._wish, self._timeout = console, Wanted(wanted), timeout
        self._heard, self._clock = heard, RealClock()

    @property
    def left(self) -> float:
        """Seconds to wait at most before looking again; negative if it is too late."""
        if self._timeout is None:
            return LONGEST_WAIT
        return min(self._timeout - self._clock.now_ns() / 1e9, LONGEST_WAIT)

    def look(self, *, patient: bool = True) -> Found | None:
        """What was found, or None if it may still come. Raises what `Console.expect` raises.

        Without ``patient`` it does not wait for the machine's lock, but calls ``heard`` again and
        returns None.
        """
        lock = self._console.lock
        if not lock.acquire(blocking=patient):
            self._heard()
            return None
        try:
            return self._console.attempt(self._wish, self._timeout, late=self.left <= 0)
        finally:
            lock.release()
