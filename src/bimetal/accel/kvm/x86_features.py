"""Which features the models of KVM have that are made of the host's processor.

The levels are those of the x86-64 psABI ("Micro-Architecture Levels"), with what every 64-bit
kernel needs or a hypervisor adds; ``host`` is everything.
"""

from __future__ import annotations

from bimetal.isa.x86 import models
from bimetal.isa.x86.features import NAMED_REGISTERS

__all__ = ["LEVELS", "MASKED_LEAVES"]

_V3 = models.LEVELS["x86-64-v3"]

LEVELS: dict[str, tuple[str, ...] | None] = {
    "host": None,
    **models.LEVELS,
    "x86-64-v4": (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
"""What each model needs of the host; None is whatever the host has."""

MASKED_LEAVES = {
    key: tuple(register for *leaf, register in NAMED_REGISTERS if tuple(leaf) == key)
    for key in dict.fromkeys((function, index) for function, index, _ in NAMED_REGISTERS)
}
"""The registers of each leaf whose every bit is a feature."""
