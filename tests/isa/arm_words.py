"""Instruction words, one by one, on a vCPU of ours and on QEMU's board: what becomes of each.

Words stand side by side, each with a call to a level above behind it. All general-purpose registers
and stack pointers hold an address that no processor has. The control registers are set anew for
each word, and its first exception is written down: to which level, its syndrome, and how far behind
the word.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .arm_machine import BASE, Run, assemble
from .arm_results import QEMU

__all__ = ["CALLED", "E2H", "RW", "TGE", "Fate", "Setting", "bits", "fates"]

MEMORY = 64 << 20
CODE_AT = BASE + 0x20_0000
STATE_AT, VALUES = CODE_AT + 0x8000, 64
WORDS_AT, FOUND_AT = CODE_AT + 0x20_0000, CODE_AT + 0x120_0000
MOST = (FOUND_AT - WORDS_AT) // 8 - 1
NOWHERE = 0x0044_4400_0000_0000
CALLED = 0xFFF
"""The immediate of the calls behind the words."""

RW, TGE, E2H = 1 << 31, 1 << 27, 1 << 34
PSTATES = 0x3C0, 0x3C5, 0x3C9
"""Of each level, with its own stack pointer, interrupts masked."""
USUAL = {
    "sctlr_el1": 0x30D0_0800, "cpacr_el1": 3 << 20, "cntkctl_el1": 0x303, "pmuserenr_el0": 0,
    "mdscr_el1": 0, "hcr_el2": RW, "cptr_el2": 0x33FF, "mdcr_el2": 6, "cnthctl_el2": 3,
    "sctlr_el2": 0x30C5_0830,
}  # fmt: skip
"""In the order in which they are set: those of EL1 while their names mean them."""
CLEARED = ("tcr_el1", "ttbr0_el1", "ttbr1_el1", "pmcr_el0", "oslar_el1", "cntv_ctl_el0",
           "cntp_ctl_el0", "tcr_el2", "vttbr_el2", "vtcr_el2", "cntvoff_el2", "cnthp_ctl_el2",
           "fpcr", "fpsr", "esr_el1", "far_el1", "csselr_el1", "pmselr_el0")  # fmt: skip

PROGRAM = f"""
    b start
    .balign {CODE_AT - BASE}
start:
    adr x0, vectors
    msr vbar_el2, x0
next:
    ldr x20, =state
    ldr x21, [x20]
    ldr w0, [x21]
    cbz w0, done
    {{cleared}}
    adr x0, low
    msr vbar_el1, x0
    ldr x30, ={NOWHERE}
    msr elr_el1, x30
    mov x0, #0x3c5
    msr spsr_el1, x0
    msr spsel, #1
    mov sp, x30
    msr sp_el0, x30
    msr sp_el1, x30
    msr elr_el2, x21
    ldr x0, [x20, #16]
    msr spsr_el2, x0
    {{registers}}
    {{nowhere}}
    isb
    eret
taken:                           // at EL2; x1 says by which vector
    ldr x20, =state
    mov x0, #0x30c50000
    movk x0, #0x0830
    msr sctlr_el2, x0
    mov x0, #1 << 31
    msr hcr_el2, x0
    mov x0, #0x33ff
    isb
    msr cptr_el2, x0
    isb
    ldp x21, x22, [x20]
    mrs x9, esr_el2
    mrs x11, elr_el2
    mov x13, #2
    lsr x14, x9, #8
    ldr x15, =0x16 << 18 | 1 << 17 | 1
    cmp x14, x15
    b.ne 1f
    mov x13, #1                  // EL1 passes on what it takes
    mrs x9, esr_el1
    mrs x11, elr_el1
1:  sub x11, x11, x21
    stp w9, w13, [x22], #8
    stp w11, wzr, [x22], #8
    add x21, x21, #8
    stp x21, x22, [x20]
    b next
done:
    ldr x0, =0x84000008
    ldr x28, [x20, #24]
    cbnz x28, wait               // nobody listens
    smc #0
wait:
    wfi
    b wait
    .ltorg
    .balign 2048
vectors:
    .rept 16
    .balign 128
    b taken
    .endr
    .balign 2048
low:                             // those of EL1
    .rept 16
    .balign 128
    hvc #0x100
    .endr
    .balign 0x8000
state: .space 4096
"""


def bits(*numbers: int) -> int:
    """A word with these bits."""
    return sum(1 << number for number in numbers)


@dataclass(frozen=True)
class Setting:
    """At which level words are executed, and what control registers hold other than usual."""

    level: int
    registers: dict[str, int] = field(default_factory=dict)

    def of(self, name: str) -> int:
        """What a control register holds."""
        return (USUAL | self.registers)[name]


@dataclass(frozen=True)
class Fate:
    """The first exception: its syndrome, the level it was taken to, and where, by the word."""

    esr: int
    level: int
    behind: int

    @property
    def cause(self) -> int:
        """The class of the exception."""
        return self.esr >> 26

    def __str__(self) -> str:
        return f"EL{self.level} EC={self.cause:#x} ISS={self.esr & 0x1FFFFFF:#x} +{self.behind}"


def program(folder: Path) -> bytes:
    registers = "\n".join(
        f"ldr x1, [x20, #{VALUES + 8 * n}]\n msr {name}, x1\n isb" for n, name in enumerate(USUAL)
    )
    cleared = "\n".join(f"msr {name}, xzr" for name in CLEARED)
    nowhere = "\n".join(f"mov x{n}, x30" for n in range(30))
    return assemble(PROGRAM.format(registers=registers, cleared=cleared, nowhere=nowhere), folder)


def image(words: Sequence[int], setting: Setting, folder: Path, *, listened: bool) -> bytearray:
    """The program with its words."""
    assert len(words) <= MOST // 2
    memory = bytearray(MEMORY)
    code = program(folder)
    memory[: len(code)] = code
    call = 0xD400_0000 | CALLED << 5 | (2 if setting.level else 1)  # HVC or SVC
    struct.pack_into(
        f"<{2 * len(words)}I", memory, WORDS_AT - BASE, *(n for word in words for n in (word, call))
    )
    struct.pack_into(
        f"<4Q32x{len(USUAL)}Q", memory, STATE_AT - BASE, WORDS_AT, FOUND_AT,
        PSTATES[setting.level], not listened, *map(setting.of, USUAL),
    )  # fmt: skip
    return memory


def qemus(words: Sequence[int], setting: Setting, folder: Path) -> bytes:
    file = folder / "memory"
    file.write_bytes(image(words, setting, folder, listened=True))
    subprocess.run(
        [QEMU, "-M", "virt,virtualization=on,gic-version=2,highmem=off,memory-backend=ram",
         "-cpu", "max,sve=off,sme=off", "-m", f"{MEMORY >> 20}", "-display", "none",
         "-monitor", "none", "-serial", "none", "-object",
         f"memory-backend-file,id=ram,size={MEMORY},mem-path={file},share=on",
         "-device", f"loader,addr={CODE_AT:#x},cpu-num=0"],
        check=True, timeout=240, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    with file.open("rb") as found:
        found.seek(FOUND_AT - BASE)
        return found.read(16 * len(words))


def ours(engine: str, words: Sequence[int], setting: Setting, folder: Path) -> bytes:
    memory = image(words, setting, folder, listened=False)
    machine = Run(engine, bytes(memory), size=MEMORY, hypervisor=True)
    try:
        machine.until_halt()
        return bytes(machine.memory(FOUND_AT, 16 * len(words)))
    finally:
        machine.close()


def fates(
    engine: str, words: Sequence[int], setting: Setting, folder: Path
) -> list[tuple[int, Fate, Fate]]:
    """Each word, with what becomes of it here, and there."""
    found = [
        [Fate(esr, level, behind) for esr, level, behind, _ in struct.iter_unpack("<IIiI", data)]
        for data in (ours(engine, words, setting, folder), qemus(words, setting, folder))
    ]
    return list(zip(words, *found, strict=True))
