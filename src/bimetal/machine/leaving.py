"""A machine leaves for another process while its guest runs.

All memory is sent first, and then, again and again, what the guest has written to meanwhile, until
that is so little that it can stand still for the rest. Where the host does not tell what was
written to, all of it is sent once, while the guest stands still.

Where the way goes both ways, the machine is the other side's once that has everything and has been
told that the disks were let go; until then, whatever happens, it goes on here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from bimetal.base.clock import monotonic_seconds
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.consoles import Consoles
from bimetal.machine.progress import Moving, Pace
from bimetal.machine.recipe import Recipe, stamps_of
from bimetal.machine.runner import Runner
from bimetal.machine.snapshots import standing
from bimetal.machine.still import areas_of, lent_by, name_of, save_machine, settle, stored_of
from bimetal.memory.contents import PAGE, Area
from bimetal.memory.written import Range, Written, host_tells
from bimetal.snapshot.stream import (
    CONTENT,
    HAVE,
    KEEP,
    KEPT,
    MOVE,
    PLACE,
    RUNS,
    STAT,
    VERSION,
    YOUR,
    ZERO,
    ZEROES,
    Stream,
    as_numbers,
)

__all__ = ["Leaving", "Way"]

PIECE = 16 << 20
"""Bytes of memory that are dealt with while the machine is halted."""

RECORD = 1 << 18
"""Bytes that are sent at once."""

STANDSTILL = 60.0
"""Seconds that the other side may do nothing while the guest stands still."""

NOTHING = bytes(RECORD)
"""What memory that nobody has used begins with: zeroes."""


class Way(Protocol):
    """Where it leaves by, see `backends.passage.Passage`."""

    both_ways: bool
    patience: float | None

    def write(self, data: bytes | memoryview) -> None: ...
    def read(self, count: int) -> bytes: ...
    def rest(self, seconds: float) -> None: ...
    def finish(self) -> None: ...


class Leaving:
    """Sends the machine of ``runner``. `run` returns when the other side has it, and it stands
    still here; or raises `BimetalError`, and it goes on."""

    def __init__(
        self,
        runner: Runner,
        consoles: Consoles,
        recipe: Recipe,
        way: Way,
        pace: Pace,
        moving: Moving,
    ):
        self._runner, self._consoles, self._recipe = runner, consoles, recipe
        self._way, self._stream = way, Stream(way)
        self._pace, self._moving = pace, moving
        self._followed = list[Written]()
        self._changed = list[list[Range]]()
        """What was written to of each, when that was looked at last: at the end of a pass."""
        self._window = monotonic_seconds(), 0
        """Since when how many bytes were sent: for the pace."""
        self.let_go = False
        """Whether the disks are the other side's."""
        self.told = False
        """Whether it may have heard of that."""
        moving.total = sum(ram.size for ram in runner.hardware.memories)
        moving.left = moving.total

    def run(self, stop: Callable[[], bool]) -> None:
        """Send it all. ``stop`` stops the guest, and says whether it ran."""
        moving = self._moving
        try:
            self._announce()
            moving.setup = monotonic_seconds() - moving.began
            if self._host_tells():
                self._first_pass()
                while not self._may_stop():
                    self._next_pass()
            stopped = monotonic_seconds()
            self._send_rest(paused=not stop())
            moving.stood = monotonic_seconds() - stopped
        except OSError as error:
            raise BimetalError(
                f"the machine cannot be sent: {error.strerror or error}",
                "it goes on here",
                ExitCode.IO_ERROR,
            ) from error
        finally:
            moving.took = monotonic_seconds() - moving.began

    def give_back(self) -> None:
        """Make the machine's memory what it was, as far as the host has room for that: nobody
        follows what is written to it any more."""
        with suppress(OSError):
            for written in self._followed:
                for piece in pieces(written.ram.size):
                    with self._halted():
                        written.give_back(piece)
        self.close()

    def close(self) -> None:
        """Forget what was sent. Idempotent; any thread."""
        with suppress(IndexError):
            while True:
                self._followed.pop().close()

    def _host_tells(self) -> bool:
        return all(map(host_tells, self._runner.hardware.memories))

    def _announce(self) -> None:
        memories = self._runner.hardware.memories
        self._stream.tell(
            MOVE,
            {
                "version": VERSION,
                "both_ways": self._way.both_ways,
                "machine": self._recipe.plain(),
                "areas": [[name_of(n, ram.name), ram.size] for n, ram in enumerate(memories)],
            },
        )
        if self._way.both_ways:
            self._stream.expect(HAVE)

    def _first_pass(self) -> None:
        with self._a_pass():
            self._take_over_all()

    def _take_over_all(self) -> None:
        for number, ram in enumerate(self._runner.hardware.memories):
            written = Written(ram)
            self._followed.append(written)
            for piece in pieces(ram.size):
                with self._halted():
                    found = written.take_over(piece)
                self._send(number, found)
                self._moving.zeroes += (piece[1] - piece[0] - size_of(found)) // PAGE
                self._moving.left -= piece[1] - piece[0]

    def _may_stop(self) -> bool:
        """Whether what is left can be sent while the guest stands still, as it looks; or whether
        that is not going to be less, since the host does not tell any more."""
        moving = self._moving
        moving.left = sum(map(size_of, self._changed))
        expected = moving.left / moving.speed if moving.speed else 0.0
        moving.stood = expected
        return expected <= self._pace.downtime or not self._host_tells()

    def _next_pass(self) -> None:
        moving = self._moving
        with self._a_pass():
            for number, written in enumerate(self._followed):
                for group in grouped(self._changed[number]):
                    with self._halted():
                        written.keep(group)
                    self._send(number, group)
                    moving.left = max(moving.left - size_of(group), 0)

    @contextmanager
    def _a_pass(self) -> Iterator[None]:
        """Memory is gone through once; what that has taken, and what was written to by then."""
        moving, began, before = self._moving, monotonic_seconds(), self._stream.moved
        moving.passes += 1
        moving.on_pass(moving.passes)
        yield
        seconds = max(monotonic_seconds() - began, 1e-3)
        moving.speed = (self._stream.moved - before) / seconds
        self._changed = [written.changed() for written in self._followed]
        moving.dirty_rate = int(sum(map(size_of, self._changed)) / PAGE / seconds)

    def _send_rest(self, *, paused: bool) -> None:
        """Send what is left of a machine that stands still, and hand it over."""
        self._way.patience = STANDSTILL
        runner, moving = self._runner, self._moving
        with standing(runner.gate, runner.clock):
            self._check_there()
            if not runner.gate.paused:
                raise BimetalError("somebody has let the machine go on", "", ExitCode.UNAVAILABLE)
            settle(runner)
            if not self._followed:
                self._only_pass()
            for number, written in enumerate(self._followed):
                left = written.changed()
                written.keep(left)
                self._send(number, left)
            for name, area in areas_of(runner.hardware).items():
                self._send_area(name, area)
            files = [path for disk in stored_of(runner.hardware) for path in disk.files()]
            state = save_machine(runner, self._consoles)
            rest = {"state": state, "files": stamps_of(files), "paused": paused}
            if self._way.both_ways:
                self._stream.tell(STAT, rest)
                self._stream.expect(HAVE)
            self._let_go()
            if not self._way.both_ways:
                self._stream.tell(STAT, rest)
            self.told = True
            self._stream.send(YOUR)
            if self._way.both_ways:
                self._stream.expect(RUNS)
            else:
                self._way.finish()
            moving.left = 0

    def _only_pass(self) -> None:
        """Send all memory of a machine that stands still."""
        with self._a_pass():
            for number, ram in enumerate(self._runner.hardware.memories):
                for start, end in split_up([(0, ram.size)]):
                    self._send_piece(number, start, bytes(ram.bytes[start:end]))
                    self._moving.left -= end - start

    def _let_go(self) -> None:
        """Let the other side have the disks: from here on nothing is written to them."""
        self._runner.quiet(True)
        self.let_go = True
        for disk in lent_by(self._runner.hardware):
            disk.let_go()

    def _send(self, number: int, ranges: list[Range]) -> None:
        for start, end in split_up(ranges):
            self._send_piece(number, start, self._followed[number].kept(start, end))

    def _send_piece(self, number: int, start: int, data: bytes) -> None:
        if NOTHING.startswith(data):  # memcmp(3)
            self._stream.send(ZERO, ZEROES.pack(number, start, len(data)))
            self._moving.zeroes += len(data) // PAGE
            return
        self._stream.send(CONTENT, PLACE.pack(number, start), data)
        self._moving.sent += len(data)
        self._keep_pace(len(data))

    def _keep_pace(self, count: int) -> None:
        """Send no more in a second than is allowed."""
        now = monotonic_seconds()
        since, sent = self._window
        sent += count
        early = sent / self._pace.bandwidth - (now - since) if self._pace.bandwidth else 0.0
        if early > 0.01:
            self._way.rest(early)
        self._window = (now, 0) if now - since > 1 else (since, sent)

    def _send_area(self, name: str, area: Area) -> None:
        """An area of a device, which is of some MiB."""
        numbers, run = list[int](), list[bytes]()

        def send() -> None:
            head = KEPT.pack(area.size, len(name.encode()), len(numbers))
            self._stream.send(KEEP, head, name.encode(), as_numbers(numbers), *run)
            numbers.clear()
            run.clear()

        for number, page in area.contents():
            numbers.append(number)
            run.append(page)
            if len(run) == RECORD // PAGE:
                send()
        send()

    @contextmanager
    def _halted(self) -> Iterator[None]:
        """The machine is halted, and nothing of the host works on its memory."""
        with self._runner.held():
            self._check_there()
            for placement in self._runner.hardware.placements:
                placement.device.let_go()
            yield

    def _check_there(self) -> None:
        gate = self._runner.gate
        if gate.over.is_set():
            raise BimetalError(f"the machine has {gate.state}", "", ExitCode.UNAVAILABLE)


def pieces(size: int) -> Iterator[Range]:
    """All of ``size`` bytes, in pieces."""
    for start in range(0, size, PIECE):
        yield start, min(start + PIECE, size)


def size_of(ranges: list[Range]) -> int:
    """Bytes in all of them."""
    return sum(end - start for start, end in ranges)


def grouped(ranges: list[Range]) -> Iterator[list[Range]]:
    """The same, so many together that they are a piece."""
    group, size = list[Range](), 0
    for start, end in split_up(ranges):
        group.append((start, end))
        size += end - start
        if size >= PIECE:
            yield group
            group, size = [], 0
    if group:
        yield group


def split_up(ranges: list[Range]) -> Iterator[Range]:
    """The same in parts that are sent at once."""
    for start, end in ranges:
        for at in range(start, end, RECORD):
            yield at, min(at + RECORD, end)
