"""The bits of control registers (volume 3, 2.5) and EFER (2.2.1)."""

from __future__ import annotations

__all__ = [
    "AM", "CD", "DE", "EM", "ET", "FSGSBASE", "LA57", "LMA", "LME", "MCE", "MP", "NE", "NW", "NXE",
    "OSFXSR", "OSXMMEXCPT", "OSXSAVE", "PAE", "PCE", "PCIDE", "PE", "PG", "PGE", "PKE", "PSE",
    "PVI", "SCE", "SMAP", "SMEP", "TS", "TSD", "UMIP", "VME", "WP",
]  # fmt: skip

PE, MP, EM, TS, ET, NE = (1 << n for n in range(6))
WP, AM, NW, CD, PG = 1 << 16, 1 << 18, 1 << 29, 1 << 30, 1 << 31
VME, PVI, TSD, DE, PSE, PAE, MCE, PGE, PCE, OSFXSR, OSXMMEXCPT, UMIP, LA57 = (
    1 << n for n in range(13)
)
FSGSBASE, PCIDE, OSXSAVE, SMEP, SMAP, PKE = (1 << n for n in (16, 17, 18, 20, 21, 22))
SCE, LME, LMA, NXE = 1, 1 << 8, 1 << 10, 1 << 11
