"""The extensions that processors may have, by the names that KVM's models use too, and where CPUID
tells of them (volume 2, CPUID): leaf, subleaf, register, bit."""

from __future__ import annotations

__all__ = ["EXTENSIONS"]

EXTENSIONS: dict[str, tuple[int, int, str, int]] = {
    "fpu": (1, 0, "edx", 0),
    "mmx": (1, 0, "edx", 23),
    "fxsr": (1, 0, "edx", 24),
    "sse": (1, 0, "edx", 25),
    "sse2": (1, 0, "edx", 26),
    "sse3": (1, 0, "ecx", 0),
    "pclmulqdq": (1, 0, "ecx", 1),
    "ssse3": (1, 0, "ecx", 9),
    "fma": (1, 0, "ecx", 12),
    "sse4_1": (1, 0, "ecx", 19),
    "sse4_2": (1, 0, "ecx", 20),
    "aes": (1, 0, "ecx", 25),
    "xsave": (1, 0, "ecx", 26),
    "avx": (1, 0, "ecx", 28),
    "f16c": (1, 0, "ecx", 29),
    "avx2": (7, 0, "ebx", 5),
    "sha_ni": (7, 0, "ebx", 29),
    "gfni": (7, 0, "ecx", 8),
    "vaes": (7, 0, "ecx", 9),
    "vpclmulqdq": (7, 0, "ecx", 10),
    "xsaveopt": (0xD, 1, "eax", 0),
    "xsavec": (0xD, 1, "eax", 1),
}
"""Each has instructions whose extension has this name; without it they are undefined."""
