"""Names of processor features and where CPUID tells of them.

Names are Linux's (``/proc/cpuinfo``) without underscores where users write none. The levels are
those of the x86-64 psABI ("Micro-Architecture Levels"), with what every 64-bit kernel needs or
a hypervisor adds; ``host`` is everything, and so is ``max``.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = ["FEATURES", "LEVELS", "MASKED_LEAVES", "PLATFORM", "Feature"]


class Feature(Struct, frozen=True):
    """One bit of CPUID."""

    function: int
    index: int
    register: str
    bit: int


_ROWS = {
    (0x1, 0, "edx"): """
        fpu vme de pse tsc msr pae mce cx8 apic . sep mtrr pge mca cmov pat pse36 pn clflush
        . ds acpi mmx fxsr sse sse2 ss ht tm ia64 pbe
    """,
    (0x1, 0, "ecx"): """
        sse3 pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr
        pdcm . pcid dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline aes xsave osxsave avx
        f16c rdrand hypervisor
    """,
    (0x7, 0, "ebx"): """
        fsgsbase tsc_adjust sgx bmi1 hle avx2 . smep bmi2 erms invpcid rtm cqm . mpx rdt_a
        avx512f avx512dq rdseed adx smap avx512ifma . clflushopt clwb intel_pt avx512pf
        avx512er avx512cd sha_ni avx512bw avx512vl
    """,
    (0x7, 0, "ecx"): """
        prefetchwt1 avx512vbmi umip pku ospke waitpkg avx512_vbmi2 shstk gfni vaes
        vpclmulqdq avx512_vnni avx512_bitalg tme avx512_vpopcntdq . la57 . . . . . rdpid . .
        cldemote . movdiri movdir64b enqcmd sgx_lc pks
    """,
    (0x7, 0, "edx"): """
        . . . . fsrm . . . . . md_clear . . . serialize . . . . . . . . . . . spec_ctrl
        intel_stibp flush_l1d arch_capabilities core_capabilities ssbd
    """,
    (0xD, 1, "eax"): """
        xsaveopt xsavec xgetbv1 xsaves
    """,
    (0x80000001, 0, "edx"): """
        . . . . . . . . . . . syscall . . . . . . . . nx . mmxext . . fxsr_opt pdpe1gb
        rdtscp . lm 3dnowext 3dnow
    """,
    (0x80000001, 0, "ecx"): """
        lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw
        ibs xop skinit wdt . lwp fma4 tce . nodeid_msr . tbm topoext
    """,
}
"""Names of the bits of a register of a leaf from bit 0 on; a dot stands for one without a name."""

FEATURES = {
    name: Feature(function, index, register, bit)
    for (function, index, register), names in _ROWS.items()
    for bit, name in enumerate(names.split())
    if name != "."
}

_V1 = "cmov cx8 fpu fxsr mmx syscall sse sse2 lm"
_V2 = f"{_V1} cx16 lahf_lm popcnt sse3 sse4_1 sse4_2 ssse3"
_V3 = f"{_V2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
_V4 = f"{_V3} avx512f avx512bw avx512cd avx512dq avx512vl"

LEVELS: dict[str, tuple[str, ...] | None] = {
    "host": None,
    "max": None,
    "x86-64-v1": tuple(_V1.split()),
    "x86-64-v2": tuple(_V2.split()),
    "x86-64-v3": tuple(_V3.split()),
    "x86-64-v4": tuple(_V4.split()),
}
"""What each model needs of the host; None is whatever the host has."""

PLATFORM = tuple(
    (
        "vme de pse tsc msr pae mce apic sep mtrr pge mca pat pse36 clflush ht nx pdpe1gb rdtscp "
        "pcid x2apic tsc_deadline hypervisor osxsave xsaveopt fsgsbase tsc_adjust smep smap umip "
        "erms invpcid md_clear spec_ctrl intel_stibp flush_l1d arch_capabilities ssbd"
    ).split()
)
"""What every model offers if the host does: how the machine works, not what programs compute."""

MASKED_LEAVES = {
    key: tuple(register for *leaf, register in _ROWS if tuple(leaf) == key)
    for key in dict.fromkeys((function, index) for function, index, _ in _ROWS)
}
"""The registers of each leaf whose every bit is a feature."""
