"""FOP, the opcode of the x87's last instruction with an unmasked exception, as FXSAVE tells it: as
on the host's processor."""

from __future__ import annotations

import pytest

from tests.agree.state import CODE, DATA, Case, State
from tests.agree.x86.native import GENERAL, INIT_FCW, INIT_MXCSR, Native

from .x86_machine import DATA as HERE
from .x86_machine import X86Machine, assemble, machines

machine = machines("reference", "interp", "everything")

AREA, SIZE, FOP = 256, 1024, slice(6, 8)
UNMASKED = 0x0340
CONTROL, ZERO, SIGNALLING, BIG = 16, 24, 32, 40
MEMORY = (
    (CONTROL, UNMASKED.to_bytes(2, "little")),
    (ZERO, bytes(8)),
    (SIGNALLING, (0x7FF0_0000_0000_0001).to_bytes(8, "little")),
    (BIG, (0x4330_0000_0000_0000).to_bytes(8, "little")),
)

PROGRAMS = {
    "division by memory": f"fdiv qword ptr [rbx + {ZERO}]",
    "division by a register": "fldz; fdivp st(1), st",
    "an operand that signals": f"fld qword ptr [rbx + {SIGNALLING}]",
    "an empty register": "fadd st, st(5)",
    "a store of what does not fit": f"fld qword ptr [rbx + {BIG}]; fist word ptr [rbx + {ZERO}]",
    "with prefixes": ".byte 0x3e, 0x66, 0x41; fdiv qword ptr [r11 + 24]",
    "a root": "fchs; fsqrt",
}


def saved(text: str) -> bytes:
    """A program that saves the x87 behind an exception, and clears that."""
    lines = f"fninit; fldcw [rbx + {CONTROL}]; fld1; {text}; fxsave [rbx + {AREA}]; fnclex; fninit"
    return assemble(lines.replace("; ", "\n"))


def of_the_host(code: bytes) -> bytes:
    memory = bytearray(SIZE)
    for at, content in MEMORY:
        memory[at : at + len(content)] = content
    registers = dict.fromkeys(GENERAL, 0) | {"rbx": DATA, "r11": DATA, "rip": CODE, "rflags": 2}
    registers |= {"mxcsr": INIT_MXCSR, "fcw": INIT_FCW}
    word = int.from_bytes(code, "little")
    before = State(registers, bytes(memory))
    with Native() as processor:
        (after,) = processor.execute([Case(word, "x87", before, len(code))])
    return after.memory[AREA:][FOP]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_opcode_of_an_unmasked_exception_is_kept(machine: X86Machine, name: str) -> None:
    code = saved(PROGRAMS[name])
    machine.place(code, rbx=HERE, r11=HERE, cr4=0x600)
    for at, content in MEMORY:
        machine.put(HERE + at, content)
    machine.run()
    wanted = of_the_host(code)
    assert machine.get(HERE + AREA, SIZE)[FOP] == wanted != bytes(2)
