"""Exits: why a CPU stopped running, and what the board answers."""

from __future__ import annotations

__all__ = [
    "CpuFault",
    "DebugStop",
    "EndOfInterrupt",
    "Exit",
    "FirmwareCall",
    "Halt",
    "Kicked",
    "Mmio",
    "Outputs",
    "Pio",
    "RegisterAccess",
    "Semihosting",
    "ShootDown",
    "Stuck",
]


ALL = (1 << 64) - 1


class Exit:
    """Why a CPU stopped running. Instances may be reused by the CPU for its next exit."""

    __slots__ = ()


class Mmio(Exit):
    """An access to a guest-physical address that no memory slot covers.

    ``size`` is 1, 2, 4 or 8 bytes; ``value`` is little-endian as an unsigned integer. For a read
    the board stores the answer in ``value`` before it runs the CPU again. If nothing is there, for
    reads and writes, it sets ``fault``, and the guest takes its architecture's access fault. Under
    KVM, and on architectures without such a fault, the guest continues with ``value``.
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


class RegisterAccess(Exit):
    """An access to a CPU register that a device on the board implements, such as the CPU interface
    of a GIC, or a local APIC.

    ``number`` is the architecture's. For AArch64's system registers it is op0, op1, CRn, CRm and
    op2 as in instructions, op0 uppermost, 16 bits. For RISC-V's CSRs it is their number, 12 bits,
    below the number that selects what is reached through mireg or sireg.

    An access may ``read`` and ``write`` at once, as one: nothing else changes the register between.
    The board gives the bits of ``mask`` those of ``value``; if these are not all of the register's,
    it is read, too. For a read the board then stores in ``value`` what the register was before.
    """

    __slots__ = ("mask", "number", "read", "value", "write")

    def __init__(
        self,
        number: int = 0,
        write: bool = False,
        value: int = 0,
        *,
        read: bool | None = None,
        mask: int = ALL,
    ):
        self.number, self.write, self.value, self.mask = number, write, value, mask
        self.read = not write if read is None else read

    def __repr__(self) -> str:
        parts = [f"{self.number:#x}", *(["read"] if self.read else [])]
        if self.write:
            bits = "" if self.mask == ALL else f" in {self.mask:#x}"
            parts.append(f"<- {self.value:#x}{bits}")
        return f"RegisterAccess({', '.join(parts)})"


class Outputs(Exit):
    """The CPU's own outputs have changed, such as those of its timers, which are wired to a
    controller on the board. Bit n of ``levels`` is output n, as the architecture numbers them."""

    __slots__ = ("levels",)

    def __init__(self, levels: int = 0):
        self.levels = levels

    def __repr__(self) -> str:
        return f"Outputs({self.levels:#b})"


class ShootDown(Exit):
    """Translations or code have changed: all other CPUs have to leave their runs, as by `Cpu.kick`,
    before this one continues. They know what to flush, and do so before they execute anything."""

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
    """A semihosting call: ``operation`` with a ``parameter`` (Arm, Semihosting for AArch32 and
    AArch64; RISC-V Semihosting).

    The board answers with a ``result``, or that such calls are ``refused``: then the program takes
    its breakpoint exception, and the CPU makes no more such exits until a reset. If there is no
    answer yet, the CPU asks ``again`` when it is run again: after an interrupt, or when its own
    timer is due, at ``deadline`` as in `Halt`.
    """

    __slots__ = ("again", "deadline", "operation", "parameter", "refused", "result")

    def __init__(self, operation: int = 0, parameter: int = 0, deadline: int | None = None):
        self.operation, self.parameter, self.deadline = operation, parameter, deadline
        self.result, self.refused, self.again = 0, False, False

    def __repr__(self) -> str:
        return f"Semihosting({self.operation:#x}, {self.parameter:#x})"


class Stuck(Exit):
    """The guest takes trap after trap at ``pc`` and executes nothing any more, as when its handler
    cannot be fetched. Reported once until a reset; the CPU may be run again."""

    __slots__ = ("pc",)

    def __init__(self, pc: int = 0):
        self.pc = pc

    def __repr__(self) -> str:
        return f"Stuck({self.pc:#x})"


class CpuFault(Exit):
    """The CPU cannot continue (triple fault, KVM internal error, no memory at the reset vector).

    ``message`` says why in one line; ``details`` holds registers and disassembly for a report.
    """

    __slots__ = ("details", "message")

    def __init__(self, message: str = "", details: str = ""):
        self.message, self.details = message, details

    def __repr__(self) -> str:
        return f"CpuFault({self.message!r})"
