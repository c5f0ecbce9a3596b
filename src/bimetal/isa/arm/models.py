"""Processor models: the ID registers of real cores, limited to what is described here.

The values are from the cores' Technical Reference Manuals: MIDR_EL1 of the last documented
revision, and ID registers with the GICv3 interface enabled.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from ..changes import taken_away
from .features import BUILT_ON, DESCRIBED, NEEDS, PHYSICAL_BITS, place
from .features import field as part

__all__ = ["MODELS", "SWITCHES", "Model", "processor"]


class Model(Struct, frozen=True):
    """A processor: MIDR_EL1, and in ``core`` its ID registers. Registers that are not in ``core``
    are 0; with an empty ``core`` the processor has all that is described. Fields in ``without`` are
    0, and those in ``at_most`` have at most that value."""

    midr: int
    core: Mapping[str, int] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    at_most: Mapping[str, int] = field(default_factory=dict)

    def says(self, register: str) -> int:
        """The value of an ID register: in each field the lesser of the core's and ours."""
        value = 0
        for name, (at, ours) in DESCRIBED.get(register, {}).items():
            if name in self.without:
                continue
            theirs = part(self.core.get(register, 0), at) if self.core else ours
            value |= min(ours, theirs, self.at_most.get(name, ours)) << at
        return value

    @property
    def lacks(self) -> frozenset[str]:
        """The extensions that it does not have."""
        return frozenset(
            extension
            for extension, (register, names, least) in NEEDS.items()
            if all(part(self.says(register), place(name)[1]) < least for name in names.split())
        )

    @property
    def physical_bits(self) -> int:
        """Bits of a physical address."""
        at, _ = DESCRIBED["id_aa64mmfr0_el1"]["PARange"]
        return PHYSICAL_BITS[part(self.says("id_aa64mmfr0_el1"), at)]

    @property
    def bits(self) -> int:
        """AArch64 is there in all of them."""
        return 64


_ARMV8_0 = {
    "id_aa64pfr0_el1": 0x0100_2222,
    "id_aa64dfr0_el1": 0x1030_5106,
    "id_aa64isar0_el1": 0x1_1120,
}
_ARMV8_2 = {
    "id_aa64pfr0_el1": 0x1100_0000_1111_2222,
    "id_aa64dfr0_el1": 0x1_1030_5408,
    "id_aa64isar0_el1": 0x1000_1021_1120,
    "id_aa64isar1_el1": 0x10_0001,
    "id_aa64mmfr1_el1": 0x1021_2122,
    "id_aa64mmfr2_el1": 0x1011,
}

# Pointer authentication is by one algorithm (D17.2.62): API and GPI claim our own, APA and GPA
# QARMA5, with which Linux's boot takes longer.
_OWN, _QARMA5 = frozenset({"API", "GPI"}), frozenset({"APA", "GPA"})
# No implementer's (0), and part 0x51, as QEMU says of its ``max``.
_MAX = 0x000F_0510

SWITCHES = ("pauth", "pauth-impdef")
"""Features of ``max`` that can be left away, as QEMU calls them."""

MODELS: dict[str, Model] = {
    "max": Model(_MAX, without=_QARMA5),
    "max,pauth-impdef=off": Model(_MAX, without=_OWN),
    "max,pauth=off": Model(_MAX, without=_OWN | _QARMA5),
    "cortex-a53": Model(0x410F_D034, _ARMV8_0 | {"id_aa64mmfr0_el1": 0x1122}),
    "cortex-a57": Model(0x411F_D070, _ARMV8_0 | {"id_aa64mmfr0_el1": 0x1124}),
    "cortex-a72": Model(0x410F_D083, _ARMV8_0 | {"id_aa64mmfr0_el1": 0x1124}),
    "cortex-a76": Model(
        0x414F_D0B1, _ARMV8_2 | {"id_aa64pfr1_el1": 0x10, "id_aa64mmfr0_el1": 0x10_1122}
    ),
    "neoverse-n1": Model(
        0x414F_D0C1, _ARMV8_2 | {"id_aa64pfr1_el1": 0x20, "id_aa64mmfr0_el1": 0x10_1125}
    ),
}


def processor(name: str) -> Model:
    """A model, possibly without features: ``max,-lse,-fp16`` also removes the features that depend
    on these. Raises `BimetalError` for other changes."""
    if name in MODELS:
        return MODELS[name]
    base = max((each for each in MODELS if name.startswith(f"{each},")), key=len)
    model = MODELS[base]
    taken = taken_away(name, base, NEEDS, model.lacks, BUILT_ON)
    limits: dict[str, int] = {}
    for feature in taken:
        _, names, least = NEEDS[feature]
        for each in names.split():
            limits[each] = min(_below(each, least), limits.get(each, least))
    return replace(model, at_most=limits)


def _below(name: str, least: int) -> int:
    """The greatest value of a field that has a feature, below ``least``."""
    others = (other for _, names, other in NEEDS.values() if name in names.split())
    return max((other for other in others if other < least), default=0)
