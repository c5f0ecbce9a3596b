"""What is described of what processors may have, and what is built on what."""

from __future__ import annotations

__all__ = ["AMD_ALONE", "BUILT_ON", "DESCRIBED", "EXTENSIONS"]

EXTENSIONS = (
    *("fpu", "tsc", "msr", "cx8", "sep", "cmov", "clflush", "mmx", "fxsr", "sse", "sse2"),
    *("sse3", "pclmulqdq", "monitor", "ssse3", "fma", "cx16", "sse4_1", "sse4_2", "movbe"),
    *("popcnt", "aes", "xsave", "avx", "f16c", "rdrand"),
    *("fsgsbase", "bmi1", "avx2", "bmi2", "invpcid", "rdseed", "adx", "smap", "clflushopt"),
    *("clwb", "sha_ni", "gfni", "vaes", "vpclmulqdq", "rdpid", "xsaveopt", "xsavec"),
    *("syscall", "rdtscp", "lahf_lm", "abm", "sse4a"),
)
"""Each has instructions whose extension has this name; without it they are undefined."""

DESCRIBED = frozenset(EXTENSIONS) | {
    *("de", "pse", "pae", "apic", "mtrr", "pge", "pat", "pse36", "pcid", "x2apic"),
    *("tsc_deadline", "hypervisor", "tsc_adjust", "smep", "erms", "umip", "la57", "fsrm"),
    *("spec_ctrl", "arch_capabilities", "xgetbv1", "nx", "pdpe1gb", "lm", "3dnowprefetch"),
}
"""All that CPUID may tell of, by the names in `features`."""

AMD_ALONE = frozenset({"sse4a"})
"""What Intel's processors do not have."""

BUILT_ON: dict[str, tuple[str, ...]] = {
    "tsc": ("rdtscp", "tsc_adjust", "tsc_deadline"),
    "apic": ("x2apic", "tsc_deadline"),
    "pse": ("pse36",),
    "pae": ("lm", "nx"),
    "lm": ("lahf_lm", "la57", "pcid", "pdpe1gb", "fsgsbase", "cx16"),
    "cx8": ("cx16",),
    "fxsr": ("sse",),
    "sse": ("sse2",),
    "sse2": (
        "sse3",
        "ssse3",
        "sse4_1",
        "sse4_2",
        "pclmulqdq",
        "aes",
        "sha_ni",
        "gfni",
        "avx",
        "sse4a",
    ),
    "xsave": ("avx", "xsaveopt", "xsavec", "xgetbv1"),
    "avx": ("avx2", "fma", "f16c", "vaes", "vpclmulqdq"),
}
"""What is not there without a feature: what needs its registers or modes (Linux
``arch/x86/kernel/cpu/cpuid-deps.c`` has most of these)."""
