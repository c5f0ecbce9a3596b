"""Features by the fields of the ID registers (D17.2.61 and on), and the instructions that belong to
them.

Each field claims what is described, and no more: `DESCRIBED` has the fields of the model ``max``,
and every other model has the lesser of these and of its core's.
"""

from __future__ import annotations

__all__ = [
    "BREAKPOINTS", "BUILT_ON", "CACHE_LINE", "CONTEXT_AWARE", "COUNTERS", "DESCRIBED",
    "IDENTIFICATION", "NEEDS", "PHYSICAL_BITS", "WATCHPOINTS", "field", "place",
]  # fmt: skip

BREAKPOINTS, WATCHPOINTS = 6, 4
CONTEXT_AWARE = range(BREAKPOINTS - 2, BREAKPOINTS)
"""The breakpoints that can match a context: the last ones."""
COUNTERS = 6
"""Event counters of the performance monitors (PMCR_EL0.N)."""
CACHE_LINE = 64
"""Bytes of a line of a cache (CTR_EL0)."""

PHYSICAL_BITS = (32, 36, 40, 42, 44, 48, 52)
"""Bits of physical addresses by ID_AA64MMFR0_EL1.PARange and TCR_ELx.IPS."""

IDENTIFICATION: dict[str, tuple[int, int]] = {
    "id_aa64pfr0_el1": (4, 0),
    "id_aa64pfr1_el1": (4, 1),
    "id_aa64zfr0_el1": (4, 4),
    "id_aa64smfr0_el1": (4, 5),
    "id_aa64dfr0_el1": (5, 0),
    "id_aa64dfr1_el1": (5, 1),
    "id_aa64afr0_el1": (5, 4),
    "id_aa64afr1_el1": (5, 5),
    "id_aa64isar0_el1": (6, 0),
    "id_aa64isar1_el1": (6, 1),
    "id_aa64isar2_el1": (6, 2),
    "id_aa64mmfr0_el1": (7, 0),
    "id_aa64mmfr1_el1": (7, 1),
    "id_aa64mmfr2_el1": (7, 2),
    "id_aa64mmfr3_el1": (7, 3),
}
"""The registers, in the order in which the state has them: CRm and op2."""

DESCRIBED: dict[str, dict[str, tuple[int, int]]] = {
    "id_aa64pfr0_el1": {
        # CSV2, CSV3: nothing is executed speculatively, so speculation leaks nothing.
        "EL0": (0, 1), "EL1": (4, 1), "EL2": (8, 1), "FP": (16, 1), "AdvSIMD": (20, 1),
        "GIC": (24, 1), "DIT": (48, 1), "CSV2": (56, 1), "CSV3": (60, 1),
    },
    "id_aa64pfr1_el1": {"BT": (0, 1), "SSBS": (4, 2)},
    "id_aa64dfr0_el1": {
        "DebugVer": (0, 6), "PMUVer": (8, 1), "BRPs": (12, BREAKPOINTS - 1),
        "WRPs": (20, WATCHPOINTS - 1), "CTX_CMPs": (28, len(CONTEXT_AWARE) - 1),
    },
    "id_aa64isar0_el1": {
        "AES": (4, 2), "SHA1": (8, 1), "SHA2": (12, 2), "CRC32": (16, 1), "Atomic": (20, 2),
        "RDM": (28, 1), "SHA3": (32, 1), "SM3": (36, 1), "SM4": (40, 1), "DP": (44, 1),
        "FHM": (48, 1), "TS": (52, 2), "TLB": (56, 2), "RNDR": (60, 1),
    },
    "id_aa64isar1_el1": {
        "DPB": (0, 2), "APA": (4, 1), "API": (8, 1), "JSCVT": (12, 1), "FCMA": (16, 1),
        "LRCPC": (20, 2), "GPA": (24, 1), "GPI": (28, 1), "FRINTTS": (32, 1),
        "SB": (36, 1), "SPECRES": (40, 1), "BF16": (44, 1), "I8MM": (52, 1),
        "XS": (56, 1),
    },
    "id_aa64isar2_el1": {"MOPS": (16, 1)},
    "id_aa64mmfr0_el1": {
        "PARange": (0, 6), "ASIDBits": (4, 2), "TGran16": (20, 2), "TGran4": (28, 1),
        "TGran16_2": (32, 3), "TGran64_2": (36, 2), "TGran4_2": (40, 3),
    },
    "id_aa64mmfr1_el1": {
        # HPDS: of bits that hardware may use none is used.
        "HAFDBS": (0, 2), "VMIDBits": (4, 2), "VH": (8, 1), "HPDS": (12, 2), "PAN": (20, 3),
        "XNX": (28, 1), "HCX": (40, 1),
    },
    "id_aa64mmfr2_el1": {
        # CnP, TTL: no TLB is shared, and hints are ignored. BBM: blocks are cached by 4 KiB pages.
        "CnP": (0, 1), "UAO": (4, 1), "VARange": (16, 1), "ST": (28, 1), "TTL": (48, 1),
        "BBM": (52, 2), "EVT": (56, 2), "E0PD": (60, 1),
    },
}  # fmt: skip
"""By register and field: where it stands, and what it says."""

NEEDS: dict[str, tuple[str, str, int]] = {
    "aes": ("id_aa64isar0_el1", "AES", 1),
    "pmull": ("id_aa64isar0_el1", "AES", 2),
    "sha1": ("id_aa64isar0_el1", "SHA1", 1),
    "sha256": ("id_aa64isar0_el1", "SHA2", 1),
    "sha512": ("id_aa64isar0_el1", "SHA2", 2),
    "sha3": ("id_aa64isar0_el1", "SHA3", 1),
    "sm3": ("id_aa64isar0_el1", "SM3", 1),
    "sm4": ("id_aa64isar0_el1", "SM4", 1),
    "crc32": ("id_aa64isar0_el1", "CRC32", 1),
    "lse": ("id_aa64isar0_el1", "Atomic", 2),
    "rdm": ("id_aa64isar0_el1", "RDM", 1),
    "dotprod": ("id_aa64isar0_el1", "DP", 1),
    "flagm": ("id_aa64isar0_el1", "TS", 1),
    "flagm2": ("id_aa64isar0_el1", "TS", 2),
    "tlbios": ("id_aa64isar0_el1", "TLB", 1),
    "tlbirange": ("id_aa64isar0_el1", "TLB", 2),
    "rng": ("id_aa64isar0_el1", "RNDR", 1),
    "dpb": ("id_aa64isar1_el1", "DPB", 1),
    "dpb2": ("id_aa64isar1_el1", "DPB", 2),
    "jscvt": ("id_aa64isar1_el1", "JSCVT", 1),
    "rcpc": ("id_aa64isar1_el1", "LRCPC", 1),
    "rcpc2": ("id_aa64isar1_el1", "LRCPC", 2),
    "frintts": ("id_aa64isar1_el1", "FRINTTS", 1),
    "sb": ("id_aa64isar1_el1", "SB", 1),
    "specres": ("id_aa64isar1_el1", "SPECRES", 1),
    "pauth": ("id_aa64isar1_el1", "APA API", 1),
    "pacga": ("id_aa64isar1_el1", "GPA GPI", 1),
    "fp16": ("id_aa64pfr0_el1", "FP AdvSIMD", 1),
    "fhm": ("id_aa64isar0_el1", "FHM", 1),
    "fcma": ("id_aa64isar1_el1", "FCMA", 1),
    "bf16": ("id_aa64isar1_el1", "BF16", 1),
    "i8mm": ("id_aa64isar1_el1", "I8MM", 1),
    "xs": ("id_aa64isar1_el1", "XS", 1),
    "mops": ("id_aa64isar2_el1", "MOPS", 1),
    "dit": ("id_aa64pfr0_el1", "DIT", 1),
    "bti": ("id_aa64pfr1_el1", "BT", 1),
    "ssbs": ("id_aa64pfr1_el1", "SSBS", 2),
    "vhe": ("id_aa64mmfr1_el1", "VH", 1),
    "pan": ("id_aa64mmfr1_el1", "PAN", 1),
    "pan2": ("id_aa64mmfr1_el1", "PAN", 2),
    "hcx": ("id_aa64mmfr1_el1", "HCX", 1),
    "uao": ("id_aa64mmfr2_el1", "UAO", 1),
}
"""Of the extensions that models may lack: register, field (or several, one of which is enough), and
the least value with which their instructions are there."""

BUILT_ON: dict[str, tuple[str, ...]] = {
    "fp16": ("fhm",),
    "pauth": ("pacga",),
    "pacga": ("pauth",),
    "sha1": ("sha256",),
    "sha256": ("sha1", "sha512"),
    "sha512": ("sha3",),
    "sha3": ("sha512",),
    "sm3": ("sm4",),
    "sm4": ("sm3",),
}
"""The extensions of other fields that are not there without one (A2.2 and on; some are there
together or not at all)."""


def field(value: int, at: int) -> int:
    """The field of an identification register at a bit."""
    return value >> at & 15


def place(name: str) -> tuple[str, int]:
    """The register that has a field, and where the field stands in it."""
    return next((register, has[name][0]) for register, has in DESCRIBED.items() if name in has)
