"""Programs that leave numbers in memory, run on a vCPU without a board and on QEMU's board.

A program ends with a branch to ``finish`` and leaves its numbers from ``results`` on, as many as it
has said; it may have its data behind the code.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from .arm_machine import ASSEMBLER, LINKER, Run, assemble

__all__ = ["QEMU", "VIRTUALIZATION", "ours", "qemus"]

QEMU = "qemu-system-aarch64"

HALT = """
finish:
    adr x28, results
1:  wfi
    b 1b
"""

PRINT = """
finish:
    msr daifset, #15
    mrs x1, sctlr_el1
    bic x1, x1, #1
    msr sctlr_el1, x1
    isb
    mov x0, #0x9000000           // the serial port
    adr x4, results
    ldr x5, ={count}
2:  ldr x1, [x4], #8
    mov x2, #60
1:  lsr x3, x1, x2
    and x3, x3, #15
    add x3, x3, #'A'
    strb w3, [x0]
    subs x2, x2, #4
    b.ge 1b
    mov w3, #10
    strb w3, [x0]
    subs x5, x5, #1
    b.ne 2b
    ldr x0, =0x84000008
    {call} #0
    .ltorg
"""

ROOM = """
    .balign 4096
results: .space {size}
"""


VIRTUALIZATION = "virt,virtualization=on"
"""QEMU's machine that begins at EL2."""


def ours(
    engine: str,
    source: str,
    count: int,
    folder: Path,
    model: str = "max",
    *,
    hypervisor: bool = False,
) -> list[int]:
    """The numbers under one of our engines; it begins at EL2, if there is a ``hypervisor``'s."""
    program = assemble(source + HALT + ROOM.format(size=8 * count), folder)
    machine = Run(engine, program, model=model, hypervisor=hypervisor)
    try:
        machine.until_halt()
        found = bytes(machine.memory(machine.x(28), 8 * count))
    finally:
        machine.close()
    return [int.from_bytes(found[at : at + 8], "little") for at in range(0, len(found), 8)]


def qemus(
    source: str, count: int, folder: Path, model: str = "max", machine: str = "virt"
) -> list[int]:
    """The numbers under QEMU, on a machine with its options."""
    text, made, linked = (folder / name for name in ("q.s", "q.o", "q.elf"))
    text.write_text(
        ".global _start\n_start:\n"
        + source
        + PRINT.format(count=count, call="smc" if machine == VIRTUALIZATION else "hvc")
        + ROOM.format(size=8 * count)
    )
    subprocess.run([ASSEMBLER, "-march=armv8.6-a", "-o", made, text], check=True)
    subprocess.run([LINKER, "-Ttext", "0x40080000", "-o", linked, made], check=True)
    command = [QEMU, "-M", machine, "-cpu", model, "-display", "none", "-serial", "stdio",
               "-monitor", "none", "-kernel", str(linked)]  # fmt: skip
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=60
    )
    return [
        sum((ord(digit) - ord("A")) << 4 * n for n, digit in enumerate(reversed(line)))
        for line in done.stdout.split()
    ]
