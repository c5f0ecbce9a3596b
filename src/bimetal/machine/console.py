"""The machine's console: one serial line, seen by a person, by a program, and by firmware calls."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

from bimetal.backends.chars.protocol import CharBackend
from bimetal.backends.chars.ring import Ring
from bimetal.backends.chars.tee import Tee
from bimetal.backends.reactor import Reactor
from bimetal.base.clock import LONGEST_WAIT, RealClock
from bimetal.base.errors import BimetalError

__all__ = ["Console", "ConsoleLine", "Found"]

FIRMWARE_INPUT_LIMIT = 256
"""Bytes of input that wait for calls to firmware, while those are what reads the console."""

TAIL = 20
"""Lines of output that an error shows."""

GATHER_SECONDS = 0.005
"""Output comes byte by byte; whoever looks for something in it looks at most this often."""


class ConsoleLine:
    """The line between the guest's end, a serial port, and the far ``end``.

    Firmware calls may read and write the same line. Input goes to whoever asked for it last: the
    serial port, until the guest reads by a firmware call, and again once it reads the port.
    """

    def __init__(self, end: CharBackend):
        self._end = end
        self._receive: Callable[[bytes], None] | None = None
        self._port_room: Callable[[], int] | None = None
        self._by_firmware = False
        self._waiting = bytearray()
        end.connect(self._deliver, self._room)

    def write(self, data: bytes) -> None:
        """Output, of the serial port or by a firmware call."""
        self._end.write(data)

    def connect(
        self, receive: Callable[[bytes], None], room: Callable[[], int] | None = None
    ) -> None:
        """Meet the serial port."""
        self._receive, self._port_room = receive, room

    def resume(self) -> None:
        """The serial port was read and has room again."""
        self._by_firmware = False
        if self._waiting and self._receive is not None:
            data = bytes(self._waiting[: self._room()])
            del self._waiting[: len(data)]
            self._receive(data)
        if not self._waiting:
            self._end.resume()

    def take(self, limit: int) -> bytes:
        """Input for a firmware call, at most ``limit`` bytes."""
        if not self._by_firmware:
            self._by_firmware = True
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
        else:
            self._receive(data)


@dataclass(frozen=True)
class Found:
    """What `Console.expect` saw: the ``text`` that matched, the ``groups`` of the pattern, and the
    output ``before`` it that nobody had read yet."""

    text: str
    groups: tuple[str, ...]
    before: str


class Console:
    """The console as a program uses it. Its methods may be called from any thread.

    Output is kept in a ring of some megabytes; what `expect` and `read` have returned is not
    returned again.
    """

    def __init__(self, end: CharBackend, lock: threading.Lock, over: threading.Event):
        self._lock, self._over = lock, over
        self._ring = Ring()
        self._ring.on_output = self._heard
        self._end = end
        self.line = ConsoleLine(Tee(self._ring, end))
        self._position = 0
        self._news = threading.Event()

    @property
    def log(self) -> str:
        """All output that is kept."""
        with self._lock:
            return _text(self._ring.output)

    def send(self, text: str | bytes) -> None:
        """Type ``text``. Raises `BimetalError` if the guest has not read what was typed before."""
        data = text.encode() if isinstance(text, str) else text
        with self._lock:
            taken = self._ring.send(data)
        if taken < len(data):
            raise BimetalError(
                f"the guest took only {taken} of {len(data)} bytes typed",
                "send less at once, and wait for the guest's answer in between",
            )

    def read(self) -> str:
        """The output since the last call of `read` or `expect`."""
        with self._lock:
            data = self._ring.since(self._position)
            self._position = self._ring.total
        return _text(data)

    def expect(self, wanted: str | re.Pattern[str], timeout: float = 60) -> Found:
        """Wait until the output shows ``wanted``, a text or a compiled regular expression.

        Raises `BimetalError`, with the last lines of output, after ``timeout`` seconds or when
        the machine ends.
        """
        pattern = _pattern(wanted)
        clock = RealClock()
        while True:
            # Looked at before the output: what came before the end is seen.
            over = self._over.is_set()
            self._news.clear()
            found = self._search(pattern)
            if found is not None:
                return found
            left = timeout - clock.now_ns() / 1e9
            if over or left <= 0:
                shown = wanted if isinstance(wanted, str) else wanted.pattern
                raise self._missing(shown, over, timeout)
            if self._news.wait(min(left, LONGEST_WAIT)):
                self._over.wait(GATHER_SECONDS)

    def attach(self, reactor: Reactor) -> None:
        """Let ``reactor`` carry the far end's input."""
        self._end.attach(reactor)

    def wake(self) -> None:
        """Make whoever expects something look again: the machine has ended."""
        self._news.set()

    def close(self) -> None:
        """Close the far end. What was output stays readable. Idempotent."""
        with self._lock:
            self._end.close()

    def _heard(self) -> None:
        if not self._news.is_set():
            self._news.set()

    def _search(self, pattern: re.Pattern[bytes]) -> Found | None:
        with self._lock:
            data = self._ring.since(self._position)
            match = pattern.search(data)
            if match is None:
                return None
            self._position = self._ring.total - len(data) + match.end()
        groups = tuple(_text(group or b"") for group in match.groups())
        return Found(_text(match[0]), groups, _text(data[: match.start()]))

    def _missing(self, wanted: str, over: bool, timeout: float) -> BimetalError:
        with self._lock:
            lines = _text(self._ring.output).splitlines()[-TAIL:]
        shown = "\n".join(lines) if lines else "(no output at all)"
        why = "the machine has ended" if over else f"nothing like it came for {timeout:g} s"
        return BimetalError(
            f"the console did not show {wanted!r}: {why}", f"its last lines are:\n{shown}"
        )


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _pattern(wanted: str | re.Pattern[str]) -> re.Pattern[bytes]:
    if isinstance(wanted, str):
        return re.compile(re.escape(wanted.encode()))
    return re.compile(wanted.pattern.encode(), wanted.flags & ~re.UNICODE)
