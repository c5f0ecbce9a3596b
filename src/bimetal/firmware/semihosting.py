"""Semihosting: what a bare program asks of who runs it, in the operations of Arm.

Operations, parameter blocks and results are those of Semihosting for AArch32 and AArch64 (Arm
2023Q3), chapter numbers of which are given; RISC-V has the same. Words have 64 bits.

Files of the host are out of reach: what can be opened is the console (``:tt``) and the list of
features (``:semihosting-features``). Every other name is refused, as a host may, and so is running
a command of the host's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, Protocol

from msgspec import Struct, field

from bimetal.base.clock import Clock
from bimetal.base.errors import GuestError
from bimetal.base.log import EventLog

__all__ = ["Host", "NotYet", "Operation", "ProgramMemory", "Semihosting", "TextConsole"]

WORD = 8
LIMIT = 1 << 16
"""Bytes that one operation moves at most; programs repeat for the rest."""

LINE_LIMIT = 4096
"""Bytes of a name, and of input that is taken at once."""

FILES_LIMIT = 32
"""Handles that are open at a time."""

APPLICATION_EXIT = 0x20026
"""The reason of an orderly end, ADP_Stopped_ApplicationExit (6.20)."""

FEATURES = b"SHFB\x03"
"""The magic and the first byte of features (5.1): exits with a code, standard error of its own."""

TICKS_PER_SECOND = 10**9
NANOSECONDS_PER_CENTISECOND = 10**7


class Operation(IntEnum):
    """What is asked for (6)."""

    OPEN = 0x01
    CLOSE = 0x02
    WRITEC = 0x03
    WRITE0 = 0x04
    WRITE = 0x05
    READ = 0x06
    READC = 0x07
    ISERROR = 0x08
    ISTTY = 0x09
    SEEK = 0x0A
    FLEN = 0x0C
    TMPNAM = 0x0D
    REMOVE = 0x0E
    RENAME = 0x0F
    CLOCK = 0x10
    TIME = 0x11
    SYSTEM = 0x12
    ERRNO = 0x13
    GET_CMDLINE = 0x15
    HEAPINFO = 0x16
    EXIT = 0x18
    EXIT_EXTENDED = 0x20
    ELAPSED = 0x30
    TICKFREQ = 0x31


class Errno(IntEnum):
    """What ERRNO tells, by the numbers of POSIX systems."""

    BADF = 9
    ACCES = 13
    FAULT = 14
    INVAL = 22
    MFILE = 24
    SPIPE = 29
    NOSYS = 38


class NotYet(Exception):
    """The program waits for input; it has to ask again."""


class _Failed(Exception):
    """An operation that answers -1, or another number."""

    def __init__(self, errno: Errno, answer: int = -1):
        self.errno, self.answer = errno, answer


class ProgramMemory(Protocol):
    """Memory by the addresses of the program that asks. Raises `GuestError` where it cannot be
    reached."""

    def read(self, address: int, length: int) -> bytes:
        """A copy of ``length`` bytes."""

    def write(self, address: int, data: bytes) -> None:
        """Store ``data``."""

    def text(self, address: int, limit: int) -> bytes:
        """The bytes up to a zero, or ``limit`` of them."""


class TextConsole(Protocol):
    """Where output goes and input comes from."""

    def write(self, data: bytes) -> None:
        """Take output. Never blocks."""

    def take(self, limit: int) -> bytes:
        """Input that has arrived, at most ``limit`` bytes. Never blocks."""


class Host(Struct, frozen=True):
    """What a program is given.

    ``power_off`` ends the run with a code. ``command_line`` is the program's name and arguments;
    ``heap`` tells the memory that is free for heap and stack: its first address, and the first
    behind it, both 0 if unknown.
    """

    console: TextConsole
    clock: Clock
    power_off: Callable[[int], None]
    command_line: bytes
    heap: Callable[[], tuple[int, int]]


class _File(Struct):
    """What a handle stands for: ``contents`` that can be read, or the console."""

    contents: bytes | None = None
    readable: bool = False
    position: int = 0


class Semihosting(Struct):
    """Answers the operations of all CPUs of one machine, under its lock."""

    host: Host
    errno: int = 0
    files: dict[int, _File] = field(default_factory=dict)
    events: EventLog = field(default_factory=lambda: EventLog("semihosting"))
    _operations: dict[int, Callable[[ProgramMemory, int], int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._operations = {
            Operation.OPEN: self._open,
            Operation.CLOSE: self._close,
            Operation.WRITEC: self._write_character,
            Operation.WRITE0: self._write_string,
            Operation.WRITE: self._write,
            Operation.READ: self._read,
            Operation.READC: self._read_character,
            Operation.ISERROR: self._is_error,
            Operation.ISTTY: self._is_tty,
            Operation.SEEK: self._seek,
            Operation.FLEN: self._length,
            Operation.TMPNAM: self._no_files,
            Operation.REMOVE: self._no_files,
            Operation.RENAME: self._no_files,
            Operation.CLOCK: self._centiseconds,
            Operation.TIME: self._seconds,
            Operation.SYSTEM: self._no_commands,
            Operation.ERRNO: lambda memory, parameter: self.errno,
            Operation.GET_CMDLINE: self._command_line,
            Operation.HEAPINFO: self._heap_info,
            Operation.EXIT: self._exit,
            Operation.EXIT_EXTENDED: self._exit,
            Operation.ELAPSED: self._elapsed,
            Operation.TICKFREQ: lambda memory, parameter: TICKS_PER_SECOND,
        }

    def save(self) -> dict[str, object]:
        """The state as plain values, for a snapshot."""
        files = {
            number: (opened.contents is None, opened.readable, opened.position)
            for number, opened in self.files.items()
        }
        return {"errno": self.errno, "files": files}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `save` returned. Raises ValueError."""
        if len(state["files"]) > FILES_LIMIT:
            raise ValueError(f"{len(state['files'])} open files")
        self.errno = int(state["errno"])
        self.files = {
            int(number): _File(None if console else FEATURES, bool(readable), int(position))
            for number, (console, readable, position) in state["files"].items()
        }

    def call(self, memory: ProgramMemory, operation: int, parameter: int) -> int:
        """The answer to an operation, perhaps negative. Raises `NotYet`."""
        function = self._operations.get(operation & 0xFFFF_FFFF)
        try:
            if function is None:
                self.events.unimplemented(f"operation {operation & 0xFFFF_FFFF:#x}")
                raise _Failed(Errno.NOSYS)
            return function(memory, parameter)
        except _Failed as failed:
            self.errno = failed.errno
            return failed.answer
        except GuestError as error:
            self.events.guest_error("memory that cannot be reached", str(error))
            self.errno = Errno.FAULT
            return -1

    # Files

    def _open(self, memory: ProgramMemory, block: int) -> int:
        address, mode, length = words(memory, block, 3)
        if mode > 11 or length > LINE_LIMIT:
            raise _Failed(Errno.INVAL)
        name = memory.read(address, length).rstrip(b"\0")
        if name == b":tt":
            opened = _File(readable=mode < 4)
        elif name == b":semihosting-features" and mode < 2:
            opened = _File(FEATURES, readable=True)
        else:
            self.events.guest_error("a file of the host, which guests do not reach", repr(name))
            raise _Failed(Errno.ACCES)
        if len(self.files) >= FILES_LIMIT:
            raise _Failed(Errno.MFILE)
        handle = next(n for n in range(1, FILES_LIMIT + 1) if n not in self.files)
        self.files[handle] = opened
        return handle

    def _file(self, handle: int, answer: int = -1) -> _File:
        if handle not in self.files:
            raise _Failed(Errno.BADF, answer)
        return self.files[handle]

    def _close(self, memory: ProgramMemory, block: int) -> int:
        (handle,) = words(memory, block, 1)
        self._file(handle)
        del self.files[handle]
        return 0

    def _write(self, memory: ProgramMemory, block: int) -> int:
        """How many bytes were not written (6.23)."""
        handle, address, length = words(memory, block, 3)
        if self._file(handle, length).readable:
            raise _Failed(Errno.BADF, length)
        with _unless_out_of_reach(length):
            data = memory.read(address, min(length, LIMIT))
        self.host.console.write(data)
        return length - len(data)

    def _read(self, memory: ProgramMemory, block: int) -> int:
        """How many bytes of the buffer were not filled (6.14); all of them at the end of a file."""
        handle, address, length = words(memory, block, 3)
        opened = self._file(handle, length)
        if not opened.readable:
            raise _Failed(Errno.BADF, length)
        room = min(length, LINE_LIMIT)
        with _unless_out_of_reach(length):
            memory.write(address, memory.read(address, room))  # before anything is taken
        if opened.contents is None:
            data = self._typed(room) if room else b""
        else:
            data = opened.contents[opened.position :][:room]
            opened.position += len(data)
        memory.write(address, data)
        return length - len(data)

    def _is_tty(self, memory: ProgramMemory, block: int) -> int:
        (handle,) = words(memory, block, 1)
        return int(self._file(handle).contents is None)

    def _seek(self, memory: ProgramMemory, block: int) -> int:
        handle, position = words(memory, block, 2)
        opened = self._file(handle)
        if opened.contents is None:
            raise _Failed(Errno.SPIPE)
        if position > len(opened.contents):
            raise _Failed(Errno.INVAL)
        opened.position = position
        return 0

    def _length(self, memory: ProgramMemory, block: int) -> int:
        (handle,) = words(memory, block, 1)
        contents = self._file(handle).contents
        if contents is None:
            raise _Failed(Errno.SPIPE)
        return len(contents)

    def _no_files(self, memory: ProgramMemory, block: int) -> int:
        self.events.guest_error("a file of the host, which guests do not reach")
        raise _Failed(Errno.ACCES)

    def _no_commands(self, memory: ProgramMemory, block: int) -> int:
        self.events.guest_error("a command of the host, which guests do not run")
        raise _Failed(Errno.ACCES)

    # The console without a handle

    def _write_character(self, memory: ProgramMemory, address: int) -> int:
        self.host.console.write(memory.read(address, 1))
        return 0

    def _write_string(self, memory: ProgramMemory, address: int) -> int:
        text = memory.text(address, LIMIT)
        if len(text) == LIMIT:
            self.events.guest_error("a string without an end")
        self.host.console.write(text)
        return 0

    def _read_character(self, memory: ProgramMemory, parameter: int) -> int:
        return self._typed(1)[0]

    def _typed(self, limit: int) -> bytes:
        """What has been typed, where the Enter key ends a line as in the text of a program."""
        data = self.host.console.take(limit)
        if not data:
            raise NotYet
        return data.replace(b"\r", b"\n")

    # Time, and the program's surroundings

    def _centiseconds(self, memory: ProgramMemory, parameter: int) -> int:
        return self.host.clock.now_ns() // NANOSECONDS_PER_CENTISECOND

    def _seconds(self, memory: ProgramMemory, parameter: int) -> int:
        return self.host.clock.wall_ns() // 10**9

    def _elapsed(self, memory: ProgramMemory, address: int) -> int:
        memory.write(address, self.host.clock.now_ns().to_bytes(WORD, "little"))
        return 0

    def _is_error(self, memory: ProgramMemory, block: int) -> int:
        (status,) = words(memory, block, 1)
        return status >> 63

    def _command_line(self, memory: ProgramMemory, block: int) -> int:
        address, room = words(memory, block, 2)
        text = self.host.command_line
        if len(text) >= room:
            raise _Failed(Errno.INVAL)
        memory.write(address, text + b"\0")
        memory.write(block + WORD, len(text).to_bytes(WORD, "little"))
        return 0

    def _heap_info(self, memory: ProgramMemory, address: int) -> int:
        """Heap upwards from the start of what is free, stack downwards from its end (6.8)."""
        (block,) = words(memory, address, 1)
        start, end = self.host.heap()
        limits = (start, end, end, start)
        memory.write(block, b"".join(each.to_bytes(WORD, "little") for each in limits))
        return 0

    def _exit(self, memory: ProgramMemory, block: int) -> int:
        """The code of an orderly end is the program's, that of all others 1."""
        try:
            reason, code = words(memory, block, 2)
        except GuestError:
            self.host.power_off(1)
            raise
        self.host.power_off(code if reason == APPLICATION_EXIT else 1)
        return 0


@contextmanager
def _unless_out_of_reach(answer: int) -> Iterator[None]:
    """What an operation answers otherwise, of which nothing was done."""
    try:
        yield
    except GuestError as error:
        raise _Failed(Errno.FAULT, answer) from error


def words(memory: ProgramMemory, block: int, count: int) -> Sequence[int]:
    """The words of a parameter block."""
    data = memory.read(block, WORD * count)
    return [int.from_bytes(data[at : at + WORD], "little") for at in range(0, len(data), WORD)]
