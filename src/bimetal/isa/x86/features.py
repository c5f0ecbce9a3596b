"""Features that processors may have, by name, and where CPUID tells of each (volume 2, CPUID; AMD
APM volume 3, appendix E).

Names are Linux's (``/proc/cpuinfo``); those by which QEMU and libvirt know some of them are
understood too.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = ["FEATURES", "NAMED_REGISTERS", "Feature", "feature_named"]


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

NAMED_REGISTERS = tuple(_ROWS)
"""The registers whose every bit is a feature: leaf, index, register."""

_OTHERS = {
    "lzcnt": "abm", "pclmuldq": "pclmulqdq", "pni": "sse3", "ffxsr": "fxsr_opt", "xd": "nx",
    "i64": "lm",
}  # fmt: skip


def feature_named(name: str) -> str:
    """The name here of a feature that others may call ``sse4.1``, ``sse4-1`` or ``pni``."""
    plain = name.strip().replace("-", "_").replace(".", "_")
    return _OTHERS.get(plain, plain)
