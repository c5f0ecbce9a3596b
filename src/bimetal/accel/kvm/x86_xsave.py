"""The x87, SSE and AVX state: as XSAVE lays it out in memory (SDM volume 1, 13.4), and as register
files of ours. The layout is the standard one, not the compacted one, as KVM's is."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from bimetal.accel.kvm import abi_x86 as x86
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["area_of", "files_of"]

Files = dict[str, list[int]]

HEADER, YMM = 512, 576
START = struct.Struct("<HHBBHQQII")
"""FCW, FSW, FTW (abridged), reserved, FOP, FIP, FDP, MXCSR, MXCSR_MASK."""
ST, XMM, WIDE = 32, 160, 16
TOP = 11
X87, SSE, AVX = 1, 2, 4
KNOWN = X87 | SSE | AVX
"""Components of the state by their bits in XCR0 (13.1)."""
INITIAL_FCW, INITIAL_MXCSR, MXCSR_MASK = 0x37F, 0x1F80, 0xFFFF
STORED = 0xFFC0
"""MXCSR without its flags."""
FLAG_PLACES = (5, 4, 3, 2, 0, 1)
"""Where MXCSR has each of the floating-point flags of ours (`bimetal.ir.fp`)."""


def area_of(files: Mapping[str, list[int]], flags: int) -> bytes:
    """The area of XSAVE for register files and floating-point ``flags``."""
    area = bytearray(x86.XSAVE_SIZE)
    fcw, fsw, ftw, fop, fip, fdp, control = (
        files[name][0] for name in ("fcw", "fsw", "ftw", "fop", "fip", "fdp", "mxcsr_control")
    )
    mxcsr = control & STORED
    for number, place in enumerate(FLAG_PLACES):
        mxcsr |= (flags >> number & 1) << place
    START.pack_into(area, 0, fcw, fsw, ftw, 0, fop, fip, fdp, mxcsr, MXCSR_MASK)
    for number in range(8):
        at = (fsw >> TOP) + number & 7
        value = files["mm"][at] | files["exponent"][at] << 64
        _put(area, ST + WIDE * number, value)
    for number in range(16):
        _put(area, XMM + WIDE * number, files["xmm"][number])
        _put(area, YMM + WIDE * number, files["ymmh"][number])
    area[HEADER : HEADER + 8] = _present(files).to_bytes(8, "little")
    return bytes(area)


def _present(files: Mapping[str, list[int]]) -> int:
    """XSTATE_BV. AVX's part is there only if it is not in its initial state: processors without AVX
    take the area too."""
    return X87 | SSE | (AVX if any(files["ymmh"]) else 0)


def files_of(area: bytes) -> tuple[Files, int]:
    """The inverse of `area_of`. A component that the area does not have is in its initial state
    (13.6). Raises `BimetalError` for a component that our processors have not."""
    present = int.from_bytes(area[HEADER : HEADER + 8], "little")
    if any(area[YMM + 256 :]) and present & ~KNOWN:
        raise BimetalError(
            "the guest has used AVX-512, or another extension with registers of its own, which "
            "only KVM has here",
            "start it with a processor that both have: --accel kvm --cpu max",
            ExitCode.UNAVAILABLE,
        )
    fcw, fsw, ftw, _, fop, fip, fdp, mxcsr, _ = START.unpack_from(area)
    if not present & X87:
        fcw, fsw, ftw, fop, fip, fdp = INITIAL_FCW, 0, 0, 0, 0, 0
    if not present & (SSE | AVX):
        mxcsr = INITIAL_MXCSR
    significands, exponents = [0] * 8, [0] * 8
    for number in range(8) if present & X87 else ():
        at, value = (fsw >> TOP) + number & 7, _get(area, ST + WIDE * number)
        significands[at], exponents[at] = value & (1 << 64) - 1, value >> 64 & 0xFFFF
    scalars = {
        "fcw": fcw, "fsw": fsw, "ftw": ftw, "fop": fop, "fip": fip, "fdp": fdp,
        "mxcsr_control": mxcsr & STORED,
    }  # fmt: skip
    files = {name: [value] for name, value in scalars.items()}
    files |= {"mm": significands, "exponent": exponents}
    for name, start, component in (("xmm", XMM, SSE), ("ymmh", YMM, AVX)):
        there = bool(present & component)
        files[name] = [_get(area, start + WIDE * n) if there else 0 for n in range(16)]
    flags = sum((mxcsr >> place & 1) << number for number, place in enumerate(FLAG_PLACES))
    return files, flags


def _put(area: bytearray, at: int, value: int) -> None:
    area[at : at + WIDE] = value.to_bytes(WIDE, "little")


def _get(area: bytes, at: int) -> int:
    return int.from_bytes(area[at : at + WIDE], "little")
