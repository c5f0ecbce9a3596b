"""CPUID: what the guest is told about its processor.

The answers come from the host as KVM supports them (KVM_GET_SUPPORTED_CPUID), less what a named
model does not have and what the user masks. A model is written as ``host``, ``x86-64-v2`` or
``host,-avx512f,+rdrand``. Sources: SDM volume 2 (CPUID), AMD APM volume 3 appendix E, x86-64 psABI
for the micro-architecture levels, Linux ``Documentation/virt/kvm/x86/cpuid.rst``.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm.abi import Capability
from bimetal.accel.kvm.device import Device
from bimetal.accel.kvm.x86_features import LEVELS, MASKED_LEAVES
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import did_you_mean
from bimetal.isa.x86.features import FEATURES, Feature, feature_named
from bimetal.isa.x86.models import MODELS, PLATFORM

__all__ = [
    "Leaf", "check_names", "encode", "for_cpu", "host_brand", "parse_model", "supported",
    "with_brand",
]  # fmt: skip

LIMIT = 256
"""More leaves than any host has; KVM says E2BIG if there were more."""


class Leaf(Struct, frozen=True):
    """The answer to one function (and index) of CPUID."""

    function: int
    index: int = 0
    flags: int = 0
    eax: int = 0
    ebx: int = 0
    ecx: int = 0
    edx: int = 0

    def has(self, feature: Feature) -> bool:
        """Whether this is the leaf of ``feature`` and its bit is set."""
        return self.holds(feature) and bool(getattr(self, feature.register) >> feature.bit & 1)

    def holds(self, feature: Feature) -> bool:
        """Whether this is the leaf in which ``feature`` is told."""
        return (self.function, self.index) == (feature.function, feature.index)

    def with_bit(self, feature: Feature, on: bool) -> Leaf:
        """This leaf with the bit of ``feature`` set or cleared."""
        bit = 1 << feature.bit
        value = getattr(self, feature.register)
        changed = value | bit if on else value & ~bit
        return replace(self, **{feature.register: changed})


def supported(device: Device) -> list[Leaf]:
    """What this host's KVM can offer to a guest."""
    buffer = device.read(
        x86.GET_SUPPORTED_CPUID, x86.CPUID_HEADER.size + LIMIT * x86.CPUID_ENTRY.size, number=LIMIT
    )
    count, _ = x86.CPUID_HEADER.unpack_from(buffer)
    places = range(x86.CPUID_HEADER.size, len(buffer), x86.CPUID_ENTRY.size)
    leaves = [Leaf(*x86.CPUID_ENTRY.unpack_from(buffer, place)) for place in places[:count]]
    if device.capability(Capability.TSC_DEADLINE_TIMER):
        # Kernels before 6.x tell of it only by this capability (api.rst, 4.46).
        leaves = _set(leaves, [FEATURES["tsc_deadline"]], True)
    return leaves


def encode(leaves: Iterable[Leaf]) -> bytearray:
    """The argument of KVM_SET_CPUID2."""
    entries = [
        x86.CPUID_ENTRY.pack(e.function, e.index, e.flags, e.eax, e.ebx, e.ecx, e.edx)
        for e in leaves
    ]
    return bytearray(x86.CPUID_HEADER.pack(len(entries), 0) + b"".join(entries))


def check_names(model: str) -> list[str]:
    """The words of ``model``: its name, and its changes. Raises `BimetalError` for unknown ones."""
    name, *changes = words = [word.strip() for word in model.split(",")]
    if name not in LEVELS:
        raise _unknown("processor model", name, {**LEVELS, **MODELS})
    for change in changes:
        if change[:1] not in ("+", "-") or feature_named(change[1:]) not in FEATURES:
            raise _unknown("processor feature", change.lstrip("+-"), FEATURES)
    return words


def parse_model(model: str, host: list[Leaf]) -> list[Leaf]:
    """``host`` less what ``model`` does not have.

    Raises `BimetalError` for an unknown name, and for features that the host lacks.
    """
    name, *changes = check_names(model)
    required = LEVELS[name]
    leaves = host
    if required is not None:
        _require(required, host, f"the model {name}")
        leaves = [_only(leaf, (*required, *PLATFORM)) for leaf in host]
    for change in changes:
        sign, feature = change[:1], feature_named(change[1:])
        if sign == "+":
            _require([feature], host, f"'{model}'")
        leaves = _set(leaves, [FEATURES[feature]], sign == "+")
    return leaves


def _require(names: Iterable[str], host: list[Leaf], who: str) -> None:
    missing = [name for name in names if not any(leaf.has(FEATURES[name]) for leaf in host)]
    if missing:
        raise BimetalError(
            f"{who} needs {', '.join(missing)}, which this host's KVM does not offer",
            "choose a lesser model, or 'host'",
            ExitCode.UNAVAILABLE,
        )


def _unknown(what: str, name: str, known: Iterable[str]) -> BimetalError:
    names = sorted(known)
    remedy = did_you_mean(name, names) or f"there are {', '.join(names[:8])}, ..."
    return BimetalError(f"there is no {what} {name!r}", remedy, ExitCode.USAGE)


def _only(leaf: Leaf, names: Iterable[str]) -> Leaf:
    """``leaf`` without the features that are not among ``names``; other leaves as they are."""
    if (leaf.function, leaf.index) not in MASKED_LEAVES:
        return leaf
    allowed = [FEATURES[name] for name in names]
    for register in MASKED_LEAVES[leaf.function, leaf.index]:
        keep = sum(1 << f.bit for f in allowed if leaf.holds(f) and f.register == register)
        leaf = replace(leaf, **{register: getattr(leaf, register) & keep})
    return leaf


def _set(leaves: list[Leaf], features: Iterable[Feature], on: bool) -> list[Leaf]:
    for feature in features:
        leaves = [leaf.with_bit(feature, on) if leaf.holds(feature) else leaf for leaf in leaves]
    return leaves


def for_cpu(leaves: list[Leaf], index: int, cpus: int) -> list[Leaf]:
    """``leaves`` with what differs from CPU to CPU: its APIC's number and the topology.

    The CPUs are single-threaded cores of one package; APIC number and index are the same.
    """
    shift = (cpus - 1).bit_length()
    fitted = [_fit(leaf, index, cpus, shift) for leaf in leaves if leaf.function not in TOPOLOGY]
    if cpus > 1 and _vendor(leaves) in AMD:
        # Without it Linux takes each CPU for a package of its own, and their clocks for different.
        fitted = _set(fitted, [FEATURES["cmp_legacy"]], True)
    if any(leaf.function == 0 and leaf.eax >= TOPOLOGY[0] for leaf in leaves):
        fitted += _topology(index, cpus, shift)
    return fitted


TOPOLOGY = (0xB, 0x1F)
AMD = (b"AuthenticAMD", b"HygonGenuine")
SMT, CORE = 1, 2


def _vendor(leaves: list[Leaf]) -> bytes:
    leaf = next((leaf for leaf in leaves if leaf.function == 0), Leaf(0))
    return b"".join(word.to_bytes(4, "little") for word in (leaf.ebx, leaf.edx, leaf.ecx))


def _fit(leaf: Leaf, index: int, cpus: int, shift: int) -> Leaf:
    match leaf.function:
        case 0x1:
            ebx = leaf.ebx & 0x0000_FFFF | min(cpus, 255) << 16 | (index & 0xFF) << 24
            edx = leaf.edx | 1 << 28 if cpus > 1 else leaf.edx & ~(1 << 28)
            return replace(leaf, ebx=ebx, ecx=leaf.ecx | 1 << 31, edx=edx)
        case 0x4 if leaf.eax & 0x1F:
            sharing = cpus - 1 if leaf.eax >> 5 & 7 == 3 else 0
            cores = min((1 << shift) - 1, 63)
            return replace(leaf, eax=leaf.eax & 0x3FFF | sharing << 14 | cores << 26)
        case 0x8000_0008:
            return replace(leaf, ecx=leaf.ecx & ~0xF0FF | shift << 12 | min(cpus - 1, 255))
        case 0x8000_001D if leaf.eax & 0x1F:
            sharing = cpus - 1 if leaf.eax >> 5 & 7 == 3 else 0
            return replace(leaf, eax=leaf.eax & 0x3FFF | sharing << 14)
        case 0x8000_001E:
            return replace(leaf, eax=index, ebx=index & 0xFF, ecx=0)
        case _:
            return leaf


def _topology(index: int, cpus: int, shift: int) -> list[Leaf]:
    """The levels of extended topology: one thread a core, then the cores, then the end. KVM tells
    nothing of them."""
    levels = ((0, 1, SMT << 8), (shift, cpus, CORE << 8 | 1), (0, 0, 2))
    return [
        Leaf(TOPOLOGY[0], number, x86.CPUID_INDEX_SIGNIFICANT, eax, ebx, ecx, index)
        for number, (eax, ebx, ecx) in enumerate(levels)
    ]


BRAND = range(0x8000_0002, 0x8000_0005)
BRAND_SIZE = 48


def with_brand(leaves: list[Leaf], brand: str) -> list[Leaf]:
    """``leaves`` in which the processor calls itself ``brand``, unless they have a name for it."""
    if any(leaf.function in BRAND and leaf.eax for leaf in leaves):
        return leaves
    text = brand.encode("ascii", "replace")[: BRAND_SIZE - 1].ljust(BRAND_SIZE, b"\0")
    words = [int.from_bytes(text[at : at + 4], "little") for at in range(0, BRAND_SIZE, 4)]
    named = [
        Leaf(function, 0, 0, *words[4 * number : 4 * number + 4])
        for number, function in enumerate(BRAND)
    ]
    return [leaf for leaf in leaves if leaf.function not in BRAND] + named


def host_brand(cpuinfo: str = "/proc/cpuinfo") -> str:
    """What the host's processor calls itself, which KVM does not pass on; empty if unknown."""
    try:
        with open(cpuinfo) as lines:
            return next(
                (line.split(":", 1)[1].strip() for line in lines if "model name" in line), ""
            )
    except OSError:
        return ""
