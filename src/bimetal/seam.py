"""The seam: all that the CPU strip and the board strip know of each other.

A CPU runs until it needs the board and then returns an *exit*. The board answers by filling in
``value`` where the exit asks for one, and runs the CPU again. The other way round, the board
raises and lowers the numbered interrupt *lines* of a CPU and may *kick* it out of its run.

Every accelerator (``interp``, ``jit``, ``kvm``, and ``ScriptCpu`` in the tests) is a `Cpu`;
no accelerator knows a device and no device knows an accelerator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

__all__ = [
    "Accelerator",
    "Counted",
    "Cpu",
    "CpuFault",
    "DebugRequest",
    "DebugStop",
    "Debuggable",
    "DirtyLog",
    "Doorbell",
    "Doorbells",
    "EndOfInterrupt",
    "Exit",
    "FirmwareCall",
    "Halt",
    "InterruptController",
    "Kicked",
    "MemorySlot",
    "Mmio",
    "Outputs",
    "Pio",
    "Place",
    "PlatformState",
    "Sampled",
    "Samples",
    "Semihosting",
    "ShootDown",
    "Shutdown",
    "ShutdownKind",
    "Stuck",
    "Suspendable",
    "Translating",
    "Watchpoint",
]


class Exit:
    """Why a CPU stopped running. Instances may be reused by the CPU for its next exit."""

    __slots__ = ()


class Mmio(Exit):
    """An access to a guest-physical address that no memory slot covers.

    ``size`` is 1, 2, 4 or 8 bytes; ``value`` is little-endian as an unsigned integer. For a read
    the board stores the answer in ``value`` before it runs the CPU again. Where nothing is, the
    board says so by ``fault``, of a write too: the guest takes its architecture's access fault.
    Guests of KVM, and architectures that know no such thing, go on with ``value``.
    """

    __slots__ = ("address", "fault", "size", "value", "write")

    def __init__(self, address: int = 0, size: int = 4, write: bool = False, value: int = 0):
        self.address, self.size, self.write, self.value = address, size, write, value
        self.fault = False

    def __repr__(self) -> str:
        arrow = f"<- {self.value:#x}" if self.write else "read"
        return f"Mmio({self.address:#x}, {self.size} bytes, {arrow})"


class Pio(Exit):
    """An x86 port access. ``size`` is 1, 2 or 4 bytes; otherwise as `Mmio`."""

    __slots__ = ("port", "size", "value", "write")

    def __init__(self, port: int = 0, size: int = 1, write: bool = False, value: int = 0):
        self.port, self.size, self.write, self.value = port, size, write, value

    def __repr__(self) -> str:
        arrow = f"<- {self.value:#x}" if self.write else "read"
        return f"Pio({self.port:#x}, {self.size} bytes, {arrow})"


class Halt(Exit):
    """The CPU waits for an interrupt (``wfi``, ``hlt``).

    ``deadline`` is the time, in nanoseconds of the machine's clock, at which the CPU's own timer
    will interrupt it, or None if only a line can wake it.
    """

    __slots__ = ("deadline",)

    def __init__(self, deadline: int | None = None):
        self.deadline = deadline

    def __repr__(self) -> str:
        return f"Halt(deadline={self.deadline})"


class FirmwareCall(Exit):
    """A call to firmware that the machine implements itself (RISC-V SBI, Arm PSCI, PAPR hcalls).

    ``args`` are the values of the argument registers in the order of the calling convention
    (for SBI: a0 to a7). The board answers with ``results``, written to the first result
    registers in order (for SBI: a0 = error, a1 = value); an empty tuple leaves them alone.
    """

    __slots__ = ("args", "results")

    def __init__(self, args: tuple[int, ...] = (), results: tuple[int, ...] = ()):
        self.args, self.results = args, results

    def __repr__(self) -> str:
        return f"FirmwareCall({', '.join(map(hex, self.args))})"


class Outputs(Exit):
    """Outputs of the CPU itself have changed: those of its timers, where these are wired to a
    controller on the board. Bit n of ``levels`` is output n, as the architecture numbers them."""

    __slots__ = ("levels",)

    def __init__(self, levels: int = 0):
        self.levels = levels

    def __repr__(self) -> str:
        return f"Outputs({self.levels:#b})"


class ShootDown(Exit):
    """All other CPUs have to forget what they have cached of the guest's memory (`Cpu.flush`)
    before this one goes on: translations or code have changed."""

    __slots__ = ()


class Kicked(Exit):
    """`Cpu.kick` made the CPU return; nothing is asked of the board."""

    __slots__ = ()


class DebugStop(Exit):
    """A breakpoint, watchpoint or single step; ``reason`` is one of those words."""

    __slots__ = ("pc", "reason")

    def __init__(self, pc: int = 0, reason: str = "breakpoint"):
        self.pc, self.reason = pc, reason


class EndOfInterrupt(Exit):
    """The guest finished the level-triggered interrupt ``vector`` of an I/O APIC that the board
    models while the accelerator models the local APICs (a split interrupt controller)."""

    __slots__ = ("vector",)

    def __init__(self, vector: int = 0):
        self.vector = vector

    def __repr__(self) -> str:
        return f"EndOfInterrupt({self.vector:#x})"


class Semihosting(Exit):
    """The program asks its debugger, or who runs it, for something: ``operation`` with a
    ``parameter`` (Arm, Semihosting for AArch32 and AArch64; RISC-V Semihosting).

    The board answers with a ``result``, or says that such calls are ``refused``: then the program
    takes its breakpoint, and the CPU asks for nothing more until a reset. Or there is no answer
    yet: the CPU asks ``again`` when it runs on, which it should for an interrupt, or when its own
    timer is to interrupt it, at ``deadline`` as in `Halt`.
    """

    __slots__ = ("again", "deadline", "operation", "parameter", "refused", "result")

    def __init__(self, operation: int = 0, parameter: int = 0, deadline: int | None = None):
        self.operation, self.parameter, self.deadline = operation, parameter, deadline
        self.result, self.refused, self.again = 0, False, False

    def __repr__(self) -> str:
        return f"Semihosting({self.operation:#x}, {self.parameter:#x})"


class Stuck(Exit):
    """The guest takes trap after trap at ``pc`` and executes nothing any more: its handler cannot
    be fetched, say. Told once, until a reset; the CPU may be run on."""

    __slots__ = ("pc",)

    def __init__(self, pc: int = 0):
        self.pc = pc

    def __repr__(self) -> str:
        return f"Stuck({self.pc:#x})"


class CpuFault(Exit):
    """The CPU cannot go on (triple fault, KVM internal error, no memory at the reset vector).

    ``message`` says why in one line; ``details`` holds registers and disassembly for a report.
    """

    __slots__ = ("details", "message")

    def __init__(self, message: str = "", details: str = ""):
        self.message, self.details = message, details

    def __repr__(self) -> str:
        return f"CpuFault({self.message!r})"


class ShutdownKind(Enum):
    """How a guest ends its run."""

    POWER_OFF = "power off"
    RESET = "reset"
    PANIC = "panic"


@dataclass(frozen=True, slots=True)
class Shutdown:
    """What a power device (or an SBI system reset call) asks of the machine.

    ``code`` is the guest's exit status, 0 for success.
    """

    kind: ShutdownKind = ShutdownKind.POWER_OFF
    code: int = 0


@dataclass(frozen=True, slots=True)
class MemorySlot:
    """A stretch of host memory that a CPU reads and writes directly.

    ``base`` and ``size`` are guest-physical bytes, multiples of 4096; ``host`` is the address of
    the first byte in this process. Stores to a read-only slot come out as `Mmio` writes.
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

        What the board answers to an exit is taken by the next call of `run` or `save`.
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
        writes it; OverflowError if the value does not fit, ValueError if it means nothing. To set
        the program counter ends an access that is under way."""

    def save(self) -> Mapping[str, object]:
        """The whole architectural state as plain values, for a snapshot."""

    def load(self, state: Mapping[str, object]) -> None:
        """Restore what `save` returned. Values are taken as `write_register` takes them; ValueError
        for what is no such state, and then nothing has changed."""

    def close(self) -> None:
        """Give back threads, descriptors and memory. Idempotent."""


class Accelerator(Protocol):
    """What runs the CPUs of one machine. One instance a machine, made by `bimetal.accel`."""

    name: str

    def add_cpu(self, index: int) -> Cpu:
        """Create the vCPU `index`, in its reset state; indices count from 0."""

    def set_memory(self, slots: Iterable[MemorySlot]) -> None:
        """Replace the memory slots of all CPUs, none of which is running. Slots do not overlap."""

    def close(self) -> None:
        """Close the CPUs and give everything back. Idempotent."""


# What only some CPUs and accelerators can do. The board strip asks with isinstance() and does the
# same by its own means where the answer is no.


@dataclass(frozen=True, slots=True)
class Watchpoint:
    """A stretch of ``size`` bytes at the guest-virtual ``address`` whose access stops the CPU."""

    address: int
    size: int = 8
    read: bool = False
    write: bool = True


@dataclass(frozen=True, slots=True)
class DebugRequest:
    """What shall end a run with `DebugStop`; the default is nothing.

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
    """A CPU that firmware can let wait."""

    def suspend(self) -> None:
        """Wait for an interrupt, let through or not, before the next instruction: until there is
        one, `Cpu.run` returns `Halt`. Called while the CPU does not run."""

    @property
    def suspended(self) -> bool:
        """Whether it waits so. May be asked at any time."""


@runtime_checkable
class Translating(Protocol):
    """A CPU that tells where addresses of its program lead."""

    def translate(self, address: int, *, write: bool = False) -> int | None:
        """The guest-physical address that a load from the virtual ``address``, or a store, would
        reach in the mode that the CPU is in, or None where it would fault. Page tables stay as
        they are. Called while the CPU does not run."""


@runtime_checkable
class InterruptController(Protocol):
    """An accelerator that models the platform's interrupt controller itself (KVM: local APICs and
    I/O APIC, or a GIC). The board wires devices to its inputs instead of adding a controller, and
    such CPUs handle their own halts. Methods may be called from any thread."""

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


@dataclass(frozen=True, slots=True)
class Doorbell:
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
        """What was counted since the start, by words that a person understands."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a CPU was found: the guest-virtual address ``pc`` of an instruction, the privilege
    ``mode`` by the manual's name, whether the code was ``translated`` or interpreted, and whether
    the mode is the ``user``'s, whose programs do not have the kernel's symbols."""

    pc: int
    mode: str
    translated: bool
    user: bool = False


@dataclass(frozen=True, slots=True)
class Samples:
    """How often CPUs were found at each place, each time after about as many instructions; and how
    many samples were ``lost``."""

    counts: Mapping[Place, int]
    lost: int = 0


@runtime_checkable
class Sampled(Protocol):
    """An accelerator that samples where its CPUs execute. Methods may be called at any time."""

    def start_sampling(self) -> None:
        """Begin to sum up samples of all CPUs, anew if it was begun before."""

    def samples(self) -> Samples:
        """What was seen since `start_sampling`; nothing if that was never called."""


@runtime_checkable
class PlatformState(Protocol):
    """An accelerator with state that belongs to no CPU (an interrupt controller, a guest clock).
    Called while no CPU runs."""

    def save(self) -> Mapping[str, object]:
        """That state as plain values, for a snapshot."""

    def load(self, state: Mapping[str, object]) -> None:
        """Restore what `save` returned."""
