"""Optional abilities of CPUs and accelerators.

The board strip checks for them with isinstance(), and does without where they are missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from msgspec import Struct

__all__ = [
    "Counted",
    "DebugRequest",
    "Debuggable",
    "DirtyLog",
    "Doorbell",
    "Doorbells",
    "Forkable",
    "InterruptController",
    "Place",
    "PlatformState",
    "Sampled",
    "Samples",
    "Suspendable",
    "Translating",
    "Watchpoint",
]


class Watchpoint(Struct, frozen=True):
    """``size`` bytes at the guest-virtual ``address``, an access to which stops the CPU."""

    address: int
    size: int = 8
    read: bool = False
    write: bool = True


class DebugRequest(Struct, frozen=True):
    """The events that end a run with `DebugStop`; by default none.

    ``breakpoints`` are guest-virtual addresses. ``software_breakpoints`` claims the guest's own
    breakpoint instructions (``int3``, ``ebreak``, ``brk``) for the debugger.
    """

    step: bool = False
    breakpoints: frozenset[int] = frozenset()
    watchpoints: frozenset[Watchpoint] = frozenset()
    software_breakpoints: bool = False


@runtime_checkable
class Debuggable(Protocol):
    """A CPU that stops for a debugger."""

    def set_debug(self, request: DebugRequest) -> None:
        """Replace the previous request. BimetalError if the CPU has too few debug registers."""


@runtime_checkable
class Suspendable(Protocol):
    """A CPU that firmware can suspend."""

    def suspend(self) -> None:
        """Wait for an interrupt, masked or not, before the next instruction: until there is one,
        `Cpu.run` returns `Halt`. Called only while the CPU does not run."""

    @property
    def suspended(self) -> bool:
        """Whether it is waiting so. May be called at any time."""


@runtime_checkable
class Translating(Protocol):
    """A CPU that can translate virtual addresses."""

    def translate(self, address: int, *, write: bool = False) -> int | None:
        """The guest-physical address that a load from the virtual ``address``, or a store, would
        reach in the mode that the CPU is in, or None where it would fault. Page tables stay as
        they are. Called while the CPU does not run."""


@runtime_checkable
class InterruptController(Protocol):
    """An accelerator that models the platform's interrupt controller itself (KVM: local APICs and
    I/O APIC, or a GIC). The board's devices are wired to its inputs, and such CPUs handle their own
    halts, and being started by others. Methods may be called from any thread."""

    def set_irq(self, irq: int, level: bool) -> None:
        """Drive input ``irq`` (x86: a global system interrupt; Arm: an SPI number)."""

    def bind_irq(self, irq: int, fd: int, resample_fd: int | None = None) -> None:
        """Let a write to the eventfd ``fd`` pulse input ``irq`` without a call into this process.

        With ``resample_fd`` the input stays high until the guest ends the interrupt, which
        signals that eventfd.
        """

    def unbind_irq(self, irq: int, fd: int) -> None:
        """Undo `bind_irq`."""

    def send_msi(self, address: int, data: int) -> None:
        """Deliver a message-signalled interrupt."""


class Doorbell(Struct, frozen=True):
    """A guest write that only says "look": to the guest-physical ``address`` (an x86 port if
    ``port``), ``size`` bytes wide, of ``value`` or, if that is None, of anything."""

    address: int
    size: int
    value: int | None = None
    port: bool = False


@runtime_checkable
class Doorbells(Protocol):
    """An accelerator that turns writes to a doorbell into eventfd signals, without an exit."""

    def add_doorbell(self, doorbell: Doorbell, fd: int) -> None:
        """Signal the eventfd ``fd`` for each such write. ValueError if ``doorbell`` is taken."""

    def remove_doorbell(self, doorbell: Doorbell, fd: int) -> None:
        """Undo `add_doorbell`."""


@runtime_checkable
class DirtyLog(Protocol):
    """An accelerator that knows which pages of memory its CPUs wrote."""

    def log_dirty(self, enabled: bool) -> None:
        """Start (with a clean log) or stop to record written pages of all writable slots."""

    def take_dirty(self) -> Mapping[int, bytes]:
        """Pages written since the last call: for each slot's base a bitmap, bit n (from the low
        bit of byte 0) for the page of 4096 bytes at base + 4096 n."""


@runtime_checkable
class Counted(Protocol):
    """A CPU or an accelerator that counts what it does."""

    @property
    def counters(self) -> Mapping[str, int]:
        """The counts since the start, by descriptions for people."""


class Place(Struct, frozen=True):
    """Where a CPU was found: the guest-virtual address ``pc`` of an instruction, the privilege
    ``mode`` by the manual's name, whether the code was ``translated`` or interpreted, and whether
    the mode is the ``user``'s, whose programs do not have the kernel's symbols."""

    pc: int
    mode: str
    translated: bool
    user: bool = False


class Samples(Struct, frozen=True):
    """How often CPUs were found at each place, sampled after about the same number of instructions;
    and how many samples were ``lost``."""

    counts: Mapping[Place, int]
    lost: int = 0


@runtime_checkable
class Sampled(Protocol):
    """An accelerator that samples where its CPUs execute. Methods may be called at any time."""

    def start_sampling(self) -> None:
        """Start to count samples of all CPUs, from zero if it was started before."""

    def samples(self) -> Samples:
        """The samples since `start_sampling`; none if that was never called."""


@runtime_checkable
class PlatformState(Protocol):
    """An accelerator with state that belongs to no CPU (an interrupt controller, a guest clock).
    Called while no CPU runs."""

    def save(self) -> Mapping[str, object]:
        """That state as plain values, for a snapshot."""

    def load(self, state: Mapping[str, object]) -> None:
        """Restore what `save` returned."""


@runtime_checkable
class Forkable(Protocol):
    """An accelerator whose CPUs can go on in a copy of this process, as fork(2) makes it."""

    def quiet(self) -> AbstractContextManager[object]:
        """A context in which no thread of the accelerator's own does anything. This process is
        copied in it, while no CPU runs; the copy does not leave it."""

    def forked(self) -> None:
        """This process is the copy: none of the others' threads is in it, and what belongs to the
        other process is not to be used. Called before any CPU runs, and nothing else of the
        accelerator was in use at the time of the fork."""

    def begun(self) -> None:
        """The CPUs of the copy execute, or soon will: what can wait begins."""

    def areas(self) -> Iterable[tuple[int, int]]:
        """Addresses and sizes of the large memory that CPUs work in, besides the machine's own."""
