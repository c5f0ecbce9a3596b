"""Processor models: the levels of the x86-64 psABI, some of those that QEMU and libvirt name, and
``max``, which has all that is described but for what AMD's processors alone have.

A named model has what QEMU's has (``query-cpu-model-expansion``) of what is described.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from ...base.errors import BimetalError, ExitCode
from ...base.near import choose_from, did_you_mean
from .extensions import AMD_ALONE, BUILT_ON, DESCRIBED, EXTENSIONS
from .features import FEATURES, feature_named

__all__ = [
    "ABSENT", "AMD", "INTEL", "LEVELS", "MODELS", "PHYSICAL_BITS", "PLATFORM", "Model", "processor",
    "switches",
]  # fmt: skip

INTEL, AMD = b"GenuineIntel", b"AuthenticAMD"
PHYSICAL_BITS = 46
"""How wide physical addresses are: bits above are reserved in entries of page tables."""


class Model(Struct, frozen=True):
    """A processor: the ``features`` that it has, who made it, its family, model and stepping, and
    what it calls itself."""

    features: frozenset[str]
    vendor: bytes = INTEL
    version: tuple[int, int, int] = (6, 60, 1)
    brand: str = "Bimetal x86-64"

    @property
    def lacks(self) -> frozenset[str]:
        """The extensions with instructions that it has not."""
        return frozenset(EXTENSIONS) - self.features

    @property
    def physical_bits(self) -> int:
        """Bits of a physical address."""
        return PHYSICAL_BITS

    @property
    def bits(self) -> int:
        """Those of a general register, which long mode doubles."""
        return 64 if "lm" in self.features else 32


_V1 = "cmov cx8 fpu fxsr mmx syscall sse sse2 lm"
_V2 = f"{_V1} cx16 lahf_lm popcnt sse3 sse4_1 sse4_2 ssse3"
_V3 = f"{_V2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
LEVELS: Mapping[str, tuple[str, ...]] = {
    "x86-64-v1": tuple(_V1.split()),
    "x86-64-v2": tuple(_V2.split()),
    "x86-64-v3": tuple(_V3.split()),
}
"""What programs of a level may compute with (psABI, "Micro-Architecture Levels"), with the mode
that all of them run in."""

PLATFORM = tuple(
    (
        "vme de pse tsc msr pae mce apic sep mtrr pge mca pat pse36 clflush ht nx pdpe1gb rdtscp "
        "pcid x2apic tsc_deadline hypervisor osxsave xsaveopt fsgsbase tsc_adjust smep smap umip "
        "erms invpcid md_clear spec_ctrl intel_stibp flush_l1d arch_capabilities ssbd"
    ).split()
)
"""How a machine works, not what programs compute with: what processors of all levels have, if the
host has it, or if it is described."""

_OLD = (
    "fpu de pse tsc msr pae cx8 apic sep mtrr pge cmov pat pse36 clflush mmx fxsr sse sse2 sse3 "
    "cx16 hypervisor syscall nx lm lahf_lm"
)
_NEHALEM = f"{_OLD} ssse3 sse4_1 sse4_2 popcnt"
_SANDY_BRIDGE = f"{_NEHALEM} pclmulqdq x2apic tsc_deadline aes xsave avx xsaveopt rdtscp"
_IVY_BRIDGE = f"{_SANDY_BRIDGE} f16c rdrand fsgsbase smep erms"
_HASWELL = f"{_IVY_BRIDGE} fma pcid movbe bmi1 avx2 bmi2 invpcid abm"
_BROADWELL = f"{_HASWELL} rdseed adx smap 3dnowprefetch"
_EPYC = (
    f"{_NEHALEM} pclmulqdq aes xsave avx xsaveopt rdtscp f16c rdrand fsgsbase smep fma movbe bmi1 "
    "avx2 bmi2 abm rdseed adx smap 3dnowprefetch monitor clflushopt sha_ni xsavec xgetbv1 pdpe1gb "
    "sse4a"
)


def _closed(names: Iterable[str]) -> frozenset[str]:
    """Those of some features that are described, less what lacks what it is built on."""
    features = set(names) & DESCRIBED
    for base, built in BUILT_ON.items():  # in the order in which they are built
        if base not in features:
            features -= set(built)
    return frozenset(features)


def _named(features: str, *version: int, brand: str, vendor: bytes = INTEL) -> Model:
    family, model, stepping = version
    return Model(frozenset(features.split()), vendor, (family, model, stepping), brand)


MODELS: Mapping[str, Model] = {
    "max": Model(DESCRIBED - AMD_ALONE),
    **{name: Model(_closed((*names, *PLATFORM))) for name, names in LEVELS.items()},
    "qemu64": _named(
        _OLD, 15, 107, 1, vendor=AMD, brand="QEMU Virtual CPU version 2.5+"
    ),
    "Nehalem": _named(
        _NEHALEM, 6, 26, 3, brand="Intel Core i7 9xx (Nehalem Class Core i7)"
    ),
    "Westmere": _named(
        f"{_NEHALEM} pclmulqdq aes", 6, 44, 1,
        brand="Westmere E56xx/L56xx/X56xx (Nehalem-C)",
    ),
    "SandyBridge": _named(
        _SANDY_BRIDGE, 6, 42, 1, brand="Intel Xeon E312xx (Sandy Bridge)"
    ),
    "IvyBridge": _named(
        _IVY_BRIDGE, 6, 58, 9, brand="Intel Xeon E3-12xx v2 (Ivy Bridge)"
    ),
    "Haswell-noTSX": _named(
        _HASWELL, 6, 60, 1, brand="Intel Core Processor (Haswell, no TSX)"
    ),
    "Broadwell-noTSX": _named(
        _BROADWELL, 6, 61, 2, brand="Intel Core Processor (Broadwell, no TSX)"
    ),
    "Skylake-Client-noTSX-IBRS": _named(
        f"{_BROADWELL} xsavec xgetbv1 spec_ctrl", 6, 94, 3,
        brand="Intel Core Processor (Skylake, IBRS, no TSX)",
    ),
    "EPYC": _named(_EPYC, 23, 1, 2, vendor=AMD, brand="AMD EPYC Processor"),
}  # fmt: skip
"""All of them, the usual one first."""

_TSX = "transactions (hle, rtm), which are not described"
_512 = "AVX-512, which is not described"
ABSENT: Mapping[str, str] = {
    "host": "it is the host's own processor, which KVM alone has",
    "x86-64-v4": f"it has {_512}",
    **{name: f"it has {_TSX}: there is {name}-noTSX" for name in ("Haswell", "Broadwell")},
    **dict.fromkeys(
        ("Skylake-Client", "Skylake-Client-IBRS"),
        f"it has {_TSX}: there is Skylake-Client-noTSX-IBRS",
    ),
    **dict.fromkeys(
        (
            *("Skylake-Server", "Skylake-Server-IBRS", "Skylake-Server-noTSX-IBRS"),
            *("Cascadelake-Server", "Cascadelake-Server-noTSX", "Cooperlake"),
            *("Icelake-Server", "Icelake-Server-noTSX", "SapphireRapids", "EPYC-Genoa"),
        ),
        f"it has {_512}",
    ),
}
"""Models that people know and that are not there, with the reason."""

FIXED = frozenset({"fpu"})
"""What no processor of 64 bits lacks, and none here can do without."""


def processor(name: str) -> Model:
    """A model, possibly with other features: ``Nehalem,+aes,-sse4_2``. What is added brings what it
    is built on, and what is taken away takes along what is built on it. Raises `BimetalError`."""
    base, *changes = [word.strip() for word in name.split(",")]
    if base not in MODELS:
        raise _wrong(f"there is no processor model {base!r}", choose_from(base, MODELS))
    added, taken = set[str](), set[str]()
    for change in changes:
        feature = _feature(change)
        (added if change[0] == "+" else taken).add(feature)
    below: dict[str, set[str]] = {}
    for ground, built in BUILT_ON.items():
        for each in built:
            below.setdefault(each, set()).add(ground)
    added, taken = _all_of(added, below), _all_of(taken, BUILT_ON)
    if both := added & taken:
        raise _wrong(
            f"a processor cannot have {', '.join(sorted(both))} and have it not",
            "say one of them",
        )
    model = MODELS[base]
    return replace(model, features=(model.features | added) - taken)


def _all_of(features: set[str], leads: Mapping[str, Iterable[str]]) -> set[str]:
    """Features, with those that they lead to."""
    found = list(features)
    for feature in found:  # which grows
        found += [each for each in leads.get(feature, ()) if each not in found]
    return set(found)


def _feature(change: str) -> str:
    """The feature that a change is about. Raises `BimetalError` unless it can be changed so."""
    sign, feature = change[:1], feature_named(change[1:])
    if sign not in ("+", "-"):
        raise _wrong(f"{change!r} is no change of a processor", "write +FEATURE or -FEATURE")
    if feature not in FEATURES:
        there = did_you_mean(feature, FEATURES)
        remedy = there or f"there are {', '.join(sorted(DESCRIBED))}"
        raise _wrong(f"there is no processor feature {change[1:]!r}", remedy)
    if sign == "+" and feature not in DESCRIBED:
        raise _wrong(
            f"the processor feature {feature} is not described, so no model can have it",
            "leave that away, or use KVM (--accel kvm --cpu host)",
            ExitCode.UNAVAILABLE,
        )
    if sign == "-" and feature in FIXED:
        raise _wrong(f"no processor here is without {feature}", "leave that away")
    return feature


def _wrong(cause: str, remedy: str, code: ExitCode = ExitCode.USAGE) -> BimetalError:
    return BimetalError(cause, remedy, code)


def switches(name: str) -> dict[str, bool]:
    """The features that can be added to a model or taken away, with whether it has them."""
    features = MODELS[name].features
    return {feature: feature in features for feature in sorted(DESCRIBED - FIXED)}
