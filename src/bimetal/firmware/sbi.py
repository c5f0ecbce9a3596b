"""The supervisor binary interface of RISC-V, version 2.0: what a kernel asks of its machine.

Section numbers are those of the RISC-V Supervisor Binary Interface Specification, version 2.0.
Implemented: base (4), timer (6), IPI (7), remote fences (8), hart state management (9), system
reset (10), debug console (12), and the legacy extensions (5). Others answer
SBI_ERR_NOT_SUPPORTED.

A hart that is told to begin at an odd address begins one byte before it, as in OpenSBI: bit 0 of
a program counter is always 0. Where OpenSBI lets a legacy call fault that cannot read its hart
mask, it answers SBI_ERR_INVALID_ADDRESS. Fences are for all addresses and address spaces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from functools import partial
from typing import Protocol

from bimetal.base.errors import GuestError
from bimetal.base.log import EventLog
from bimetal.memory.space import AddressSpace

__all__ = ["Extension", "HartState", "Harts", "ResetType", "Sbi", "SbiConsole", "SbiError"]

VERSION = 2 << 24
IMPLEMENTATION_ID = int.from_bytes(b"BMTL", "big")
IMPLEMENTATION_VERSION = 0x0001_0000

WORD, HALF = (1 << 64) - 1, (1 << 32) - 1
WRITE_LIMIT = 1 << 16
"""Bytes that one call of the debug console writes at most; the caller repeats for the rest."""


class SbiError(IntEnum):
    """What a call answers in a0 (3.1)."""

    SUCCESS = 0
    FAILED = -1
    NOT_SUPPORTED = -2
    INVALID_PARAM = -3
    DENIED = -4
    INVALID_ADDRESS = -5
    ALREADY_AVAILABLE = -6
    ALREADY_STARTED = -7
    ALREADY_STOPPED = -8


class Extension(IntEnum):
    """Extension ids, given in a7."""

    LEGACY_SET_TIMER = 0x00
    LEGACY_PUTCHAR = 0x01
    LEGACY_GETCHAR = 0x02
    LEGACY_CLEAR_IPI = 0x03
    LEGACY_SEND_IPI = 0x04
    LEGACY_FENCE_I = 0x05
    LEGACY_SFENCE_VMA = 0x06
    LEGACY_SFENCE_VMA_ASID = 0x07
    LEGACY_SHUTDOWN = 0x08
    BASE = 0x10
    TIME = 0x5449_4D45
    IPI = 0x0073_5049
    RFENCE = 0x5246_4E43
    HSM = 0x0048_534D
    SRST = 0x5352_5354
    DBCN = 0x4442_434E


class HartState(IntEnum):
    """States of a hart (9, table of hart states)."""

    STARTED = 0
    STOPPED = 1
    START_PENDING = 2
    SUSPENDED = 4


class Suspend(IntEnum):
    """Kinds of suspension that are there, of the 32 bits that tell one (9.4)."""

    RETENTIVE = 0x0000_0000
    NON_RETENTIVE = 0x8000_0000


class ResetType(IntEnum):
    """Kinds of system reset (10.1)."""

    SHUTDOWN = 0
    COLD_REBOOT = 1
    WARM_REBOOT = 2


class Harts(Protocol):
    """The harts of a machine, as the SBI acts on them. Hart numbers are below ``count``."""

    count: int

    def state(self, hart: int) -> HartState:
        """What ``hart`` is doing."""

    def start(self, hart: int, address: int, argument: int) -> None:
        """Let a stopped hart begin at the physical ``address`` in S-mode without translation, with
        its number in a0 and ``argument`` in a1."""

    def stop(self, hart: int) -> None:
        """Stop the calling hart as soon as its call has ended."""

    def resume(self, hart: int, address: int, argument: int) -> None:
        """Let the calling hart go on as `start` does instead of behind its call."""

    def suspend(self, hart: int) -> None:
        """Let the calling hart wait for an interrupt before it goes on."""

    def interrupt(self, hart: int) -> None:
        """Make the supervisor software interrupt of ``hart`` pending."""

    def clear_interrupt(self, hart: int) -> bool:
        """Undo `interrupt` for the calling hart; whether it was pending."""

    def word(self, hart: int, address: int) -> int | None:
        """The 64 bits at the virtual ``address`` of the calling hart, None where it would fault."""

    def set_timer(self, hart: int, ticks: int) -> None:
        """Clear the supervisor timer interrupt of ``hart``, and raise it when ``time`` reaches
        ``ticks``."""

    def fence(self, caller: int, harts: Iterable[int], *, code: bool) -> None:
        """Have ``harts`` forget translations of addresses, and of instructions if ``code``; done
        when this returns."""

    def reset(self, kind: ResetType, failed: bool) -> None:
        """End the run of the machine, because of a failure or in good order."""


class SbiConsole(Protocol):
    """Where console calls go."""

    def write(self, data: bytes) -> None:
        """Take output. Never blocks."""

    def take(self, limit: int) -> bytes:
        """Input that has arrived, at most ``limit`` bytes. Never blocks."""


class _Failed(Exception):
    """A call that ends with an error."""

    def __init__(self, error: SbiError):
        self.error = error


Function = Callable[[int, tuple[int, ...]], int]
"""Takes the calling hart and a0 to a5, returns a value for a1."""


class Sbi:
    """Answers the calls of all harts of one machine, under its lock."""

    def __init__(self, harts: Harts, console: SbiConsole, memory: AddressSpace):
        self._harts, self._console, self._memory = harts, console, memory
        self.events = EventLog("sbi")
        self._functions: dict[tuple[int, int], Function] = {
            (Extension.BASE, 0): lambda hart, a: VERSION,
            (Extension.BASE, 1): lambda hart, a: IMPLEMENTATION_ID,
            (Extension.BASE, 2): lambda hart, a: IMPLEMENTATION_VERSION,
            (Extension.BASE, 3): lambda hart, a: int(a[0] in self._extensions),
            (Extension.BASE, 4): lambda hart, a: 0,  # mvendorid
            (Extension.BASE, 5): lambda hart, a: 0,  # marchid
            (Extension.BASE, 6): lambda hart, a: 0,  # mimpid
            (Extension.TIME, 0): self._set_timer,
            (Extension.IPI, 0): self._send_ipi,
            (Extension.RFENCE, 0): self._fence_i,
            (Extension.RFENCE, 1): self._fence_addresses,
            (Extension.RFENCE, 2): self._fence_addresses,
            (Extension.HSM, 0): self._hart_start,
            (Extension.HSM, 1): self._hart_stop,
            (Extension.HSM, 2): self._hart_status,
            (Extension.HSM, 3): self._hart_suspend,
            (Extension.SRST, 0): self._system_reset,
            (Extension.DBCN, 0): self._console_write,
            (Extension.DBCN, 1): self._console_read,
            (Extension.DBCN, 2): self._console_write_byte,
        }
        self._legacy: dict[int, Function] = {
            Extension.LEGACY_SET_TIMER: self._set_timer,
            Extension.LEGACY_PUTCHAR: self._console_write_byte,
            Extension.LEGACY_GETCHAR: self._getchar,
            Extension.LEGACY_CLEAR_IPI: lambda hart, a: int(harts.clear_interrupt(hart)),
            Extension.LEGACY_SEND_IPI: self._legacy_send_ipi,
            Extension.LEGACY_FENCE_I: partial(self._legacy_fence, code=True),
            Extension.LEGACY_SFENCE_VMA: partial(self._legacy_fence, code=False),
            Extension.LEGACY_SFENCE_VMA_ASID: partial(self._legacy_fence, code=False),
            Extension.LEGACY_SHUTDOWN: self._shutdown,
        }
        self._extensions = frozenset(each for each, _ in self._functions) | frozenset(self._legacy)

    def call(self, hart: int, args: tuple[int, ...]) -> tuple[int, ...]:
        """Answer a call of ``hart`` with a0 to a7 in ``args``: the values for a0 and a1, or for a0
        alone if the call is a legacy one."""
        number, extension = args[6], args[7]
        legacy = self._legacy.get(extension)
        if legacy is not None:
            try:
                return (legacy(hart, args[:6]) & WORD,)
            except _Failed as failed:
                return (failed.error & WORD,)
        function = self._functions.get((extension, number))
        if function is None:
            return (SbiError.NOT_SUPPORTED & WORD, 0)
        try:
            return (SbiError.SUCCESS, function(hart, args[:6]) & WORD)
        except _Failed as failed:
            return (failed.error & WORD, 0)

    # Timer, interrupts between harts, fences

    def _set_timer(self, hart: int, args: tuple[int, ...]) -> int:
        self._harts.set_timer(hart, args[0])
        return 0

    def _send_ipi(self, hart: int, args: tuple[int, ...]) -> int:
        for target in self._selected(args[0], args[1]):
            self._harts.interrupt(target)
        return 0

    def _fence_i(self, hart: int, args: tuple[int, ...]) -> int:
        self._harts.fence(hart, self._selected(args[0], args[1]), code=True)
        return 0

    def _fence_addresses(self, hart: int, args: tuple[int, ...]) -> int:
        self._harts.fence(hart, self._selected(args[0], args[1]), code=False)
        return 0

    def _selected(self, mask: int, base: int) -> list[int]:
        """The harts of a mask (3.2): bit n is hart ``base`` + n; a base of -1 is all harts."""
        if base == WORD:
            return list(range(self._harts.count))
        harts = [base + bit for bit in range(64) if mask >> bit & 1]
        if base >= self._harts.count or (harts and harts[-1] >= self._harts.count):
            raise _Failed(SbiError.INVALID_PARAM)
        return harts

    def _legacy_send_ipi(self, hart: int, args: tuple[int, ...]) -> int:
        for target in self._pointed_to(hart, args[0]):
            self._harts.interrupt(target)
        return 0

    def _legacy_fence(self, hart: int, args: tuple[int, ...], *, code: bool) -> int:
        self._harts.fence(hart, self._pointed_to(hart, args[0]), code=code)
        return 0

    def _pointed_to(self, hart: int, address: int) -> list[int]:
        """The harts of a mask in the caller's memory (5.5); all of them if the address is 0. Harts
        that do not exist are passed over."""
        mask = self._harts.word(hart, address) if address else WORD
        if mask is None:
            raise _Failed(SbiError.INVALID_ADDRESS)
        return [each for each in range(self._harts.count) if mask >> each & 1]

    # Hart state management

    def _hart_start(self, hart: int, args: tuple[int, ...]) -> int:
        target, address, argument = args[:3]
        match self._state(target):
            case HartState.STARTED | HartState.SUSPENDED:
                raise _Failed(SbiError.ALREADY_AVAILABLE)
            case HartState.START_PENDING:
                raise _Failed(SbiError.ALREADY_STARTED)
        self._harts.start(target, self._executable(address), argument)
        return 0

    def _hart_stop(self, hart: int, args: tuple[int, ...]) -> int:
        self._harts.stop(hart)
        return 0

    def _hart_status(self, hart: int, args: tuple[int, ...]) -> int:
        return self._state(args[0])

    def _hart_suspend(self, hart: int, args: tuple[int, ...]) -> int:
        kind, address, argument = args[0] & HALF, args[1], args[2]
        if kind not in tuple(Suspend):
            raise _Failed(SbiError.INVALID_PARAM)
        if kind == Suspend.NON_RETENTIVE:
            self._harts.resume(hart, self._executable(address), argument)
        self._harts.suspend(hart)
        return 0

    def _state(self, hart: int) -> HartState:
        if hart >= self._harts.count:
            raise _Failed(SbiError.INVALID_PARAM)
        return self._harts.state(hart)

    def _executable(self, address: int) -> int:
        try:
            self._memory.view(address, 2).release()
        except GuestError as error:
            raise _Failed(SbiError.INVALID_ADDRESS) from error
        return address

    # System reset

    def _system_reset(self, hart: int, args: tuple[int, ...]) -> int:
        kind, reason = args[0] & HALF, args[1] & HALF
        if kind not in tuple(ResetType) or reason not in (0, 1):
            raise _Failed(SbiError.INVALID_PARAM)
        self._harts.reset(ResetType(kind), failed=reason == 1)
        return 0

    def _shutdown(self, hart: int, args: tuple[int, ...]) -> int:
        self._harts.reset(ResetType.SHUTDOWN, failed=False)
        return 0

    # Console

    def _console_write(self, hart: int, args: tuple[int, ...]) -> int:
        length = min(args[0], WRITE_LIMIT)
        self._console.write(bytes(self._buffer(args, length, writable=False)))
        return length

    def _console_read(self, hart: int, args: tuple[int, ...]) -> int:
        with self._buffer(args, args[0], writable=True) as buffer:
            data = self._console.take(len(buffer))
            buffer[: len(data)] = data
        return len(data)

    def _console_write_byte(self, hart: int, args: tuple[int, ...]) -> int:
        self._console.write(bytes((args[0] & 0xFF,)))
        return 0

    def _getchar(self, hart: int, args: tuple[int, ...]) -> int:
        data = self._console.take(1)
        return data[0] if data else -1

    def _buffer(self, args: tuple[int, ...], length: int, *, writable: bool) -> memoryview:
        """The guest's buffer whose address is given in two halves, of which only the lower one is
        needed on a 64-bit machine (12.1)."""
        if args[2]:
            raise _Failed(SbiError.INVALID_PARAM)
        try:
            return self._memory.view(args[1], length, writable=writable)
        except GuestError as error:
            self.events.guest_error("a console buffer outside of memory", str(error))
            raise _Failed(SbiError.INVALID_PARAM) from error
