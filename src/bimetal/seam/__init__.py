"""The seam: all that the CPU strip and the board strip know of each other.

A CPU runs until it needs the board and then returns an *exit*. The board answers by filling in
``value`` where the exit asks for one, and runs the CPU again. The other way round, the board
raises and lowers the numbered interrupt *lines* of a CPU and may *kick* it out of its run.

Every accelerator (``interp``, ``jit``, ``kvm``, and ``ScriptCpu`` in the tests) is a `Cpu`;
no accelerator knows a device and no device knows an accelerator.
"""

from .abilities import (
    Counted,
    Debuggable,
    DebugRequest,
    DirtyLog,
    Doorbell,
    Doorbells,
    Forkable,
    InterruptController,
    Place,
    PlatformState,
    Sampled,
    Samples,
    Suspendable,
    Translating,
    Watchpoint,
)
from .cpu import (
    Accelerator,
    Cpu,
    MemorySlot,
    Shutdown,
    ShutdownKind,
)
from .exits import (
    CpuFault,
    DebugStop,
    EndOfInterrupt,
    Exit,
    FirmwareCall,
    Halt,
    Kicked,
    Mmio,
    Outputs,
    Pio,
    RegisterAccess,
    Semihosting,
    ShootDown,
    Stuck,
)
from .handover import Controllers, LocalController, SharedControllers

__all__ = [
    "Accelerator",
    "Controllers",
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
    "Forkable",
    "Halt",
    "InterruptController",
    "Kicked",
    "LocalController",
    "MemorySlot",
    "Mmio",
    "Outputs",
    "Pio",
    "Place",
    "PlatformState",
    "RegisterAccess",
    "Sampled",
    "Samples",
    "Semihosting",
    "SharedControllers",
    "ShootDown",
    "Shutdown",
    "ShutdownKind",
    "Stuck",
    "Suspendable",
    "Translating",
    "Watchpoint",
]
