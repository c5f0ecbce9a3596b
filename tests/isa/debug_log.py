"""Bare programs of AArch64 that log every exception they get and go on behind it."""

from __future__ import annotations

from .arm_machine import BASE, Run

__all__ = [
    "BREAKPOINT", "BRK", "DATA", "END", "HANDLERS", "KDE", "LOG", "LOWER", "MDE", "SAME", "SS",
    "STEP", "SVC", "WATCHPOINT", "Record", "begin", "log",
]  # fmt: skip

LOG = BASE + 0x10_0000
DATA = BASE + 0x11_0000
SAME, LOWER = 1, 0
BREAKPOINT, STEP, WATCHPOINT, SVC, BRK = 0x30, 0x32, 0x34, 0x15, 0x3C
KDE, MDE, SS = 1 << 13, 1 << 15, 1

# Each exception writes its syndrome, address, return address and SPSR into the log. Debug
# exceptions go on with the next instruction, a step with the one that is due; a system call ends
# the program if x26 is 1. Steps are wanted as long as x25 is not 0.
HANDLERS = """
    .balign 2048
vectors:
    .rept 16
    .balign 128
    b record
    .endr
record:
    stp x9, x10, [x28]
    stp x11, x12, [x28, #16]
    mrs x9, esr_el1
    mrs x10, far_el1
    mrs x11, elr_el1
    mrs x12, spsr_el1
    stp x9, x10, [x29], #16
    stp x11, x12, [x29], #16
    lsr x9, x9, #26
    cmp x9, #0x15
    b.eq called
    and x9, x9, #0x3e
    cmp x9, #0x32
    b.eq stepped
    add x11, x11, #4
    msr elr_el1, x11
back:
    orr x12, x12, x25            // SPSR.SS, as long as steps are wanted
    msr spsr_el1, x12
called:
    cbnz x26, stop
    ldp x9, x10, [x28]
    ldp x11, x12, [x28, #16]
    eret
stepped:
    cbnz x25, back
    msr mdscr_el1, xzr
    b back
stop:
    wfi
    b stop
    .ltorg
"""


def begin(control: int) -> str:
    """Vectors, the log, the OS lock open, MDSCR_EL1, debug exceptions of EL1 unmasked."""
    return f"""
        adr x0, vectors
        msr vbar_el1, x0
        ldr x29, ={LOG}
        ldr x28, ={LOG + 0x8000}
        mov x26, #0
        mov x25, #0
        msr oslar_el1, xzr
        mov x0, #3 << 20
        msr cpacr_el1, x0
        mov x0, #{control}
        msr mdscr_el1, x0
        msr daifclr, #8
        isb
    """


END = "mov x26, #1\n svc #0\n"


class Record:
    """An exception as the log has it."""

    def __init__(self, words: list[int]):
        self.syndrome, self.far, self.at, self.spsr = words

    @property
    def kind(self) -> tuple[int, int]:
        """Its class without its lowest bit, and that: whether it came from the same level."""
        return self.syndrome >> 26 & 0x3E, self.syndrome >> 26 & 1


def log(machine: Run) -> list[Record]:
    """What has been recorded; the last one ended the program."""
    words = list(machine.memory(LOG, 32 * 200).cast("Q"))
    records = [Record(words[n : n + 4]) for n in range(0, len(words), 4) if words[n]]
    assert records
    assert records[-1].syndrome >> 26 == SVC
    return records[:-1]
