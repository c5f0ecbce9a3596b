"""CPUID (volume 2): what the processor's model tells of itself (`identity`), and what its state
adds."""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu, when
from .control import OSXSAVE
from .identity import AMD_WORD, INDEXED, LEAVES, STATE_SIZE_SSE, place_of
from .state import x86

__all__ = ["answer", "has", "is_amd"]


def has(cpu: Cpu, feature: str) -> Value:
    """Whether the processor has a feature."""
    word, bit = place_of(feature)
    told: Value = cpu.identity[word][bit]
    return told


def is_amd(cpu: Cpu) -> Value:
    """Whether the processor is one of AMD's, which differ in some of what they do."""
    amd: Value = cpu.identity[1] == AMD_WORD
    return amd


@x86.routine(leaf=32, index=32)
def answer(cpu: Cpu, leaf: Value, index: Value) -> None:
    """Set `told` to the answer. A leaf above the highest is answered as the highest one is."""
    highest, extended = cpu.identity[0], cpu.identity[4 * LEAVES.index((0x8000_0000, 0))]
    basic = (leaf.lsr(31) == 0) & highest.ult(leaf)
    beyond = (leaf.lsr(31) == 1) & extended.ult(leaf)
    asked = select(basic | beyond, highest, leaf)
    for n in range(4):
        cpu.told[n] = 0
    row = cpu.local(const(len(LEAVES), 8))
    for number, (known, at) in enumerate(LEAVES):
        here = (asked == known) & (index == at) if known in INDEXED else asked == known
        with when(here):
            row.set(const(number, 8))
    with when(row.value.ult(len(LEAVES))):
        for n in range(4):
            cpu.told[n] = cpu.identity[(row.value << 2) + n]
    apic = cpu.cpu_index
    with when(asked == 1):
        cpu.told[1] = cpu.told[1] | (apic & 0xFF) << 24
        saves = select((cpu.cr4 & OSXSAVE) != 0, const(1 << 27, 32), 0)
        cpu.told[2] = cpu.told[2] | saves
    with when((asked == 0xD) & (index == 0) & ((cpu.xcr0 & 4) == 0) & has(cpu, "xsave")):
        cpu.told[1] = STATE_SIZE_SSE
    with when(asked == 0xB):
        cpu.told[2] = cpu.told[2] | (index & 0xFF)
        cpu.told[3] = apic
