"""CPUID (volume 2): what is described, and nothing else.

An extension announces itself by a line in `ANNOUNCED`: the name that KVM's models have for it too,
and the leaf, index, register (EAX, EBX, ECX, EDX are 0 to 3) and bit at which CPUID tells of it.
"""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu, when
from .control import OSXSAVE
from .extensions import EXTENSIONS
from .state import x86

__all__ = ["ANNOUNCED", "answer"]

A, B, C, D = range(4)
REGISTERS = ("eax", "ebx", "ecx", "edx")
ANNOUNCED: dict[str, tuple[int, int, int, int]] = {
    **{name: (1, 0, D, bit) for name, bit in (
        ("de", 2), ("pse", 3), ("tsc", 4), ("msr", 5), ("pae", 6), ("cx8", 8),
        ("apic", 9), ("sep", 11), ("mtrr", 12), ("pge", 13), ("cmov", 15), ("pat", 16),
        ("pse36", 17), ("clflush", 19),
    )},
    **{name: (1, 0, C, bit) for name, bit in (
        ("monitor", 3), ("cx16", 13), ("pcid", 17), ("x2apic", 21), ("movbe", 22), ("popcnt", 23),
        ("tsc_deadline", 24), ("rdrand", 30), ("hypervisor", 31),
    )},
    **{name: (7, 0, B, bit) for name, bit in (
        ("fsgsbase", 0), ("tsc_adjust", 1), ("bmi1", 3), ("smep", 7), ("bmi2", 8), ("erms", 9),
        ("invpcid", 10), ("rdseed", 18), ("adx", 19), ("smap", 20), ("clflushopt", 23),
        ("clwb", 24),
    )},
    **{name: (7, 0, C, bit) for name, bit in (("umip", 2), ("la57", 16), ("rdpid", 22))},
    **{name: (0x8000_0001, 0, D, bit) for name, bit in (
        ("syscall", 11), ("nx", 20), ("pdpe1gb", 26), ("rdtscp", 27), ("lm", 29),
    )},
    **{name: (0x8000_0001, 0, C, bit) for name, bit in (
        ("lahf_lm", 0), ("abm", 5), ("3dnowprefetch", 8),
    )},
    **{name: (leaf, index, REGISTERS.index(register), bit)
       for name, (leaf, index, register, bit) in EXTENSIONS.items()},
    "xgetbv1": (0xD, 1, A, 2), "fsrm": (7, 0, D, 4),
    "spec_ctrl": (7, 0, D, 26), "arch_capabilities": (7, 0, D, 29),
}  # fmt: skip

VENDOR = b"GenuineIntel"
SIGNATURE = 6 << 8 | 3 << 16 | 0xC << 4 | 1
"""Family 6, model 60, stepping 1."""
BRAND = b"Bimetal x86-64".ljust(48, b"\0")
HIGHEST, HIGHEST_EXTENDED = 0x16, 0x8000_0008
PHYSICAL_BITS, LINEAR_BITS = 46, 57
MEGAHERTZ, HERTZ = 1000, 1_000_000_000
"""The time-stamp counter counts nanoseconds."""
STATE_SIZE, STATE_SIZE_SSE = 832, 576
"""Bytes of the area of XSAVE, with the upper halves of YMM registers and without."""
CORES_AT = 8
"""Bits of an APIC's number that tell cores of a package apart."""


def _words(text: bytes) -> list[int]:
    return [int.from_bytes(text[at : at + 4], "little") for at in range(0, len(text), 4)]


def _leaves() -> dict[tuple[int, int], list[int]]:
    """What does not depend on the state of a CPU, by leaf and index."""
    vendor, brand = _words(VENDOR), _words(BRAND)
    leaves = {
        (0, 0): [HIGHEST, vendor[0], vendor[2], vendor[1]],
        (1, 0): [SIGNATURE, 8 << 8 | 1 << 16, 0, 0],
        (5, 0): [64, 64, 3, 0],
        (6, 0): [1 << 2, 0, 0, 0],
        (7, 0): [0, 0, 0, 0],
        (0xB, 0): [0, 1, 1 << 8, 0],
        (0xB, 1): [CORES_AT, 1 << CORES_AT, 1 | 2 << 8, 0],
        (0xD, 0): [7, STATE_SIZE, STATE_SIZE, 0],
        (0xD, 1): [0, STATE_SIZE, 0, 0],
        (0xD, 2): [STATE_SIZE - STATE_SIZE_SSE, STATE_SIZE_SSE, 0, 0],
        (0x15, 0): [1, 1, HERTZ, 0],
        (0x16, 0): [MEGAHERTZ, MEGAHERTZ, 100, 0],
        (0x8000_0000, 0): [HIGHEST_EXTENDED, 0, 0, 0],
        (0x8000_0001, 0): [0, 0, 0, 0],
        (0x8000_0006, 0): [0, 0, 256 << 16 | 6 << 12 | 64, 0],
        (0x8000_0007, 0): [0, 0, 0, 1 << 8],
        (0x8000_0008, 0): [LINEAR_BITS << 8 | PHYSICAL_BITS, 0, 0, 0],
    }
    for number in range(3):
        leaves[0x8000_0002 + number, 0] = brand[4 * number : 4 * number + 4]
    for leaf, index, register, bit in ANNOUNCED.values():
        leaves[leaf, index][register] |= 1 << bit
    return leaves


INDEXED = (0xB, 0xD, 4)
"""Leaves whose index matters."""


@x86.routine(leaf=32, index=32)
def answer(cpu: Cpu, leaf: Value, index: Value) -> None:
    """Set `told` to the answer. A leaf above the highest is answered as the highest one is."""
    basic = (leaf.lsr(31) == 0) & const(HIGHEST, 32).ult(leaf)
    beyond = (leaf.lsr(31) == 1) & const(HIGHEST_EXTENDED, 32).ult(leaf)
    asked = select(basic | beyond, const(HIGHEST, 32), leaf)
    for n in range(4):
        cpu.told[n] = 0
    for (number, at), words in _leaves().items():
        here = (asked == number) & (index == at) if number in INDEXED else asked == number
        with when(here):
            for n, word in enumerate(words):
                cpu.told[n] = word
    apic = cpu.cpu_index
    with when(asked == 1):
        cpu.told[1] = cpu.told[1] | (apic & 0xFF) << 24
        saves = select((cpu.cr4 & OSXSAVE) != 0, const(1 << 27, 32), 0)
        cpu.told[2] = cpu.told[2] | saves
    with when((asked == 0xD) & (index == 0) & ((cpu.xcr0 & 4) == 0)):
        cpu.told[1] = STATE_SIZE_SSE
    with when(asked == 0xB):
        cpu.told[2] = cpu.told[2] | (index & 0xFF)
        cpu.told[3] = apic
