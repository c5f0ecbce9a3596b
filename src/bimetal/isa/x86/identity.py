"""What a processor model tells of itself by CPUID (volume 2), and which bits its control registers
have (volume 3, 2.5; 13.3 of volume 1): registers that are set at reset.

CPUID's answers are a table of leaves. What depends on the state of the CPU is left to `cpuid`.
"""

from __future__ import annotations

from collections.abc import Iterable

from .control import (
    DE,
    FSGSBASE,
    LA57,
    LMA,
    LME,
    MCE,
    NXE,
    OSFXSR,
    OSXMMEXCPT,
    OSXSAVE,
    PAE,
    PCE,
    PCIDE,
    PGE,
    PSE,
    SCE,
    SMAP,
    SMEP,
    TSD,
    UMIP,
)
from .features import FEATURES
from .models import AMD, PHYSICAL_BITS, Model

__all__ = [
    "AMD_WORD",
    "INDEXED",
    "LEAVES",
    "REGISTERS",
    "SETTABLE",
    "STATE_SIZE_SSE",
    "for_linux",
    "place_of",
    "settable",
    "words",
]

REGISTERS = ("eax", "ebx", "ecx", "edx")
INDEXED = (7, 0xB, 0xD)
"""Leaves whose index matters."""
LEAVES = (
    *((leaf, 0) for leaf in (0, 1, 5, 6, 7)),
    *((0xB, 0), (0xB, 1), (0xD, 0), (0xD, 1), (0xD, 2), (0x15, 0), (0x16, 0)),
    *((0x8000_0000 + number, 0) for number in (0, 1, 2, 3, 4, 6, 7, 8)),
)
"""Leaves and their indices, in the order of the table, which begins with the one that tells of the
highest leaf."""
HIGHEST, HIGHEST_EXTENDED = 0x16, 0x8000_0008
MEGAHERTZ, HERTZ = 1000, 1_000_000_000
"""The time-stamp counter counts nanoseconds."""
STATE_SIZE, STATE_SIZE_SSE = 832, 576
"""Bytes of the area of XSAVE, with the upper halves of YMM registers and without."""
CORES_AT = 8
"""Bits of an APIC's number that tell cores of a package apart."""
AMD_WORD = int.from_bytes(AMD[:4], "little")
"""EBX of leaf 0 with AMD's processors."""


def place_of(feature: str) -> tuple[int, int]:
    """The word of the table that tells of a feature, and the bit."""
    known = FEATURES[feature]
    row = LEAVES.index((known.function, known.index))
    return 4 * row + REGISTERS.index(known.register), known.bit


def words(model: Model) -> list[int]:
    """The table of a model."""
    vendor, brand = _words(model.vendor), _words(model.brand.encode().ljust(48, b"\0"))
    has, amd = model.features.__contains__, model.vendor == AMD
    size = STATE_SIZE if has("avx") else STATE_SIZE_SSE
    linear = 57 if has("la57") else 48
    leaves = {
        (0, 0): [HIGHEST, vendor[0], vendor[2], vendor[1]],
        (1, 0): [_signature(*model.version), 8 << 8 | 1 << 16, 0, 0],
        (5, 0): [64, 64, 3, 0] if has("monitor") else [],
        (6, 0): [1 << 2, 0, 0, 0],
        (7, 0): [0, 1 << 13, 0, 0],  # the x87 has no FCS and FDS
        (0xB, 0): [0, 1, 1 << 8, 0],
        (0xB, 1): [CORES_AT, 1 << CORES_AT, 1 | 2 << 8, 0],
        (0xD, 0): [7 if has("avx") else 3, size, size, 0] if has("xsave") else [],
        (0xD, 1): [0, size if has("xsavec") else 0, 0, 0],
        (0xD, 2): [STATE_SIZE - STATE_SIZE_SSE, STATE_SIZE_SSE, 0, 0] if has("avx") else [],
        (0x15, 0): [1, 1, HERTZ, 0],
        (0x16, 0): [MEGAHERTZ, MEGAHERTZ, 100, 0],
        (0x8000_0000, 0): [HIGHEST_EXTENDED, vendor[0], vendor[2], vendor[1]] if amd
        else [HIGHEST_EXTENDED, 0, 0, 0],
        (0x8000_0006, 0): [0, 0, 256 << 16 | 6 << 12 | 64, 0],
        (0x8000_0007, 0): [0, 0, 0, 1 << 8],
        # AMD's tell the bits of an APIC's number that are those of a core, and how many cores.
        (0x8000_0008, 0): [
            linear << 8 | PHYSICAL_BITS, 0, CORES_AT << 12 | (1 << CORES_AT) - 1 if amd else 0, 0
        ],
    } | {(0x8000_0002 + n, 0): brand[4 * n : 4 * n + 4] for n in range(3)}  # fmt: skip
    table = [word for leaf in LEAVES for word in leaves.get(leaf) or [0] * 4]
    for feature in model.features:
        word, bit = place_of(feature)
        table[word] |= 1 << bit
    return table


def for_linux(model: Model) -> str:
    """What Linux is to be told of how time stamps are counted: AMD's processors do not say how
    fast, and it distrusts a counter without TSC_ADJUST (its ``kernel-parameters.txt``)."""
    told = [f"tsc_early_khz={HERTZ // 1000}"] if model.vendor == AMD else []
    trusted = [] if "tsc_adjust" in model.features else ["tsc=reliable"]
    return " ".join([*told, *trusted])


def _words(text: bytes) -> list[int]:
    return [int.from_bytes(text[at : at + 4], "little") for at in range(0, len(text), 4)]


def _signature(family: int, model: int, stepping: int) -> int:
    """Leaf 1's EAX: families above 15 are a sum."""
    low, above = min(family, 15), max(family - 15, 0)
    return above << 20 | model >> 4 << 16 | low << 8 | (model & 15) << 4 | stepping


SETTABLE = ("cr4", "efer", "xcr0")
"""Registers some of whose bits only processors with a feature have."""
_NEEDS = {
    "cr4": {
        "tsc": TSD, "de": DE, "pse": PSE, "pae": PAE, "pge": PGE, "fxsr": OSFXSR,
        "sse": OSXMMEXCPT, "umip": UMIP, "la57": LA57, "fsgsbase": FSGSBASE, "pcid": PCIDE,
        "xsave": OSXSAVE, "smep": SMEP, "smap": SMAP,
    },
    "efer": {"syscall": SCE, "lm": LME | LMA, "nx": NXE},
    "xcr0": {"xsave": 1, "sse": 2, "avx": 4},
}  # fmt: skip
_ALWAYS = {"cr4": MCE | PCE}


def settable(features: Iterable[str], register: str) -> int:
    """The bits of a register that can be set on a processor with these features."""
    needs = _NEEDS[register]
    bits = _ALWAYS.get(register, 0)
    for feature in features:
        bits |= needs.get(feature, 0)
    return bits
