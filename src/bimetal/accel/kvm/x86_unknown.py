"""State of an x86 processor that XSAVE saves and the reference does not know, such as AVX-512's:
kept aside while the reference executes an instruction (volume 1, 13.1 and 13.5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bimetal.accel.kvm.x86_exchange import KNOWN_COMPONENTS, XCR0_ENTRY
from bimetal.accel.reference.core import Core
from bimetal.accel.reference.state import Registers

__all__ = ["Noting", "UnknownState"]

LEGACY, HEADER, YMM, YMM_END = 512, 512, 576, 832
ZMM_UPPER, ZMM_HALF = 1 << 6, 32
"""The component of the upper halves of ZMM0 to ZMM15; bytes of one."""


class Noting(Registers):
    """Registers that note of which vector registers the upper half was written: whatever does that
    makes all above it 0 (volume 1, 14.1.2). Instructions of SSE leave it alone."""

    def __init__(self, registers: Registers):
        super().__init__(registers.spec)
        self.files = registers.files
        self.upper: set[int] = set()

    @classmethod
    def watch(cls, core: Core) -> Noting:
        """Watch the registers of a CPU from now on."""
        core.registers = noting = cls(core.registers)
        return noting

    def set(self, file: str, index: int, value: int) -> None:
        if file == "ymmh":
            self.upper.add(index)
        super().set(file, index, value)


class UnknownState:
    """What of a vCPU's saved ``state`` the reference does not know. ``zmm_at`` is where XSAVE's
    area has the upper halves of ZMM registers (CPUID 0DH.6), 0 if it has none."""

    EXTENSIONS = ("xsave", "xsaveopt", "xsavec")
    """Instructions that are about all of it."""

    def __init__(self, state: Mapping[str, Any], zmm_at: int):
        self.xcr0 = int.from_bytes(state["xcrs"][XCR0_ENTRY : XCR0_ENTRY + 8], "little")
        self.components = self.xcr0 & ~KNOWN_COMPONENTS
        self._area, self._zmm_at = bytes(state["xsave"]), zmm_at

    def hidden(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The state as that of a processor without it."""
        xcrs, area = bytearray(state["xcrs"]), bytearray(self._area)
        _put(xcrs, XCR0_ENTRY, self.xcr0 & KNOWN_COMPONENTS)
        _put(area, HEADER, _get(area, HEADER) & KNOWN_COMPONENTS)
        return {**state, "xcrs": bytes(xcrs), "xsave": bytes(area)}

    def area(self, known: bytes, cleared: Iterable[int]) -> bytearray:
        """XSAVE's area with ``known`` in it, an area of what both have, and with zeros above the
        vector registers ``cleared``."""
        area = bytearray(self._area)
        area[:LEGACY], area[YMM:YMM_END] = known[:LEGACY], known[YMM:YMM_END]
        present = _get(area, HEADER)
        _put(area, HEADER, _get(known, HEADER) | present & ~KNOWN_COMPONENTS)
        for number in cleared if present & ZMM_UPPER and self._zmm_at else ():
            at = self._zmm_at + ZMM_HALF * number
            area[at : at + ZMM_HALF] = bytes(ZMM_HALF)
        return area


def _get(area: bytes | bytearray, at: int) -> int:
    return int.from_bytes(area[at : at + 8], "little")


def _put(area: bytearray, at: int, value: int) -> None:
    area[at : at + 8] = value.to_bytes(8, "little")
