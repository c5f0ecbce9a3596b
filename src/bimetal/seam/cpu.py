"""The protocols of CPUs and accelerators, and the types that they share with the board."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Protocol

from msgspec import Struct

from .exits import Exit

__all__ = [
    "Accelerator",
    "Cpu",
    "MemorySlot",
    "Shutdown",
    "ShutdownKind",
]


class ShutdownKind(Enum):
    """How a guest ends its run."""

    POWER_OFF = "power off"
    RESET = "reset"
    PANIC = "panic"


class Shutdown(Struct, frozen=True):
    """What a power device (or an SBI system reset call) asks of the machine.

    ``code`` is the guest's exit status, 0 for success.
    """

    kind: ShutdownKind = ShutdownKind.POWER_OFF
    code: int = 0


class MemorySlot(Struct, frozen=True):
    """Host memory that a CPU reads and writes directly.

    ``base`` and ``size`` are guest-physical bytes, multiples of 4096; ``host`` is the address of
    the first byte in this process. Stores to a read-only slot are `Mmio` exits.
    """

    base: int
    size: int
    host: int
    readonly: bool = False


class Cpu(Protocol):
    """One virtual CPU. `run` is called from one thread at a time; `set_line` and `kick`
    may be called from any thread; everything else only while the CPU is not running."""

    index: int

    @property
    def register_names(self) -> Sequence[str]:
        """The names that `read_register` and `write_register` take, in the manual's order."""

    def run(self) -> Exit:
        """Run, without holding the GIL, until the board is needed.

        The next call of `run` or `save` takes the board's answer to the exit.
        """

    def kick(self) -> None:
        """Make the current, or else the next, `run` return `Kicked` soon."""

    def set_line(self, line: int, level: bool) -> None:
        """Drive an interrupt input. Numbers are the architecture's (RISC-V: bits of ``mip``)."""

    def flush(self) -> None:
        """Forget cached translations and code: memory or page tables changed behind the CPU."""

    def reset(self) -> None:
        """Put every register into its reset state."""

    def read_register(self, name: str) -> int:
        """A register as an unsigned integer; KeyError for a name that the CPU does not have."""

    def write_register(self, name: str, value: int) -> None:
        """Set a register. Bits that the manual says are always zero stay so, as when the guest
        writes it. Setting the program counter abandons an access that is under way.

        Raises KeyError for an unknown name, OverflowError if the value does not fit, ValueError if
        it is reserved."""

    def save(self) -> Mapping[str, object]:
        """The whole architectural state as plain values, for a snapshot."""

    def load(self, state: Mapping[str, object]) -> None:
        """Restore what `save` returned. Values are checked as by `write_register`. Raises
        ValueError, without changing anything, if ``state`` is not such a state."""

    def close(self) -> None:
        """Free threads, descriptors and memory. Idempotent."""


class Accelerator(Protocol):
    """Runs the CPUs of a machine. There is one instance for each machine."""

    name: str

    def add_cpu(self, index: int) -> Cpu:
        """Create the vCPU `index`, in its reset state; indices count from 0."""

    def set_memory(self, slots: Iterable[MemorySlot]) -> None:
        """Replace the memory slots of all CPUs, none of which is running. Slots do not overlap."""

    def close(self) -> None:
        """Close the CPUs and free everything. Idempotent."""
