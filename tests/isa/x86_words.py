"""Random bytes that are likely to be x86 instructions."""

from __future__ import annotations

import random

from bimetal.isa.x86 import x86

__all__ = ["random_code"]

_MAPS = (b"", b"\x0f", b"\x0f\x38", b"\x0f\x3a")


def random_code(rng: random.Random) -> bytes:
    """An opcode that is described, with random prefixes, ModRM and what follows: 15 bytes."""
    insn = rng.choice([insn for insn in x86.insns if insn.name != "too_long"])
    low = insn.pattern.match & 0x7FF | rng.getrandbits(8) & ~insn.pattern.mask & 0xFF
    prefixes = rng.choice((b"", b"", b"", b"\x66", b"\x64", b"\x67"))
    rex = rng.choice((b"", bytes([0x48 | rng.getrandbits(3)])))
    tail = rng.randbytes(14)
    if rng.random() < 0.5:
        middle = insn.pattern.match >> 14 & 7 if insn.pattern.mask >> 14 & 7 else rng.getrandbits(3)
        tail = bytes([rng.getrandbits(2) << 6 | middle << 3 | rng.getrandbits(3)]) + tail
    return (prefixes + rex + _MAPS[low >> 8 & 3] + bytes([low & 0xFF]) + tail)[:15]
