"""Where a handler's stencil is found: in front of the handler are a mark and a pointer to its
description.

====== =====================================================================
0      the size of the code in bytes, 0 if there is no stencil
4      the number of holes
8      1 if a run ends with the instruction
12     1 if it has a way out
16     the holes, `HOLE_BYTES` each, then the code, filled up to a multiple of 16
====== =====================================================================
"""

from __future__ import annotations

from .hole import COLD_BASE, HOLE_TYPE, Stencil

__all__ = [
    "CHUNK",
    "CONSTANTS",
    "ENDS",
    "HOLES",
    "HOLE_COUNT",
    "LEAVES",
    "MARK",
    "constants_text",
    "description",
    "leading_to",
]

HOLE_COUNT, ENDS, LEAVES, HOLES = 4, 8, 12, 16
MARK = 0x6E68_5C1D_93E2_4F07
"""What is 16 bytes in front of a handler; the pointer is in between."""

CHUNK = 16
"""Bytes of code that are copied at a time."""

CONSTANTS = "constants"
"""The symbol of the size of the constants that stencils refer to, eight bytes, and of them."""


def leading_to(entry: str) -> str:
    """The words behind a handler's head, in LLVM's text, that put the pointer in front of it."""
    return f" prefix {{ i64, ptr }} {{ i64 {MARK}, ptr {entry}.stencil }}"


def description(entry: str, stencil: Stencil | None, ends: bool) -> str:
    """The LLVM text of the description that a handler's pointer leads to."""
    holes = stencil.holes if stencil else ()
    code = stencil.code if stencil else b""
    leaves = any(hole.filling.base == COLD_BASE for hole in holes)
    padded = code + bytes(-len(code) % CHUNK)
    parts = [("i32", str(number)) for number in (len(code), len(holes), int(ends), int(leaves))]
    parts.append(
        (f"[{len(holes)} x {HOLE_TYPE}]", f"[{', '.join(hole.constant for hole in holes)}]")
    )
    parts.append(_bytes(padded))
    kinds, values = ", ".join(kind for kind, _ in parts), ", ".join(map(" ".join, parts))
    return f"{entry}.stencil = internal constant <{{ {kinds} }}> <{{ {values} }}>, align 16\n"


def constants_text(content: bytes) -> str:
    """The LLVM text of the constants that stencils refer to."""
    kind, value = _bytes(content)
    size = len(content)
    return f"@{CONSTANTS} = constant <{{ i64, {kind} }}> <{{ i64 {size}, {kind} {value} }}>\n"


def _bytes(content: bytes) -> tuple[str, str]:
    """The type and the value of bytes in LLVM's text."""
    text = "".join(f"\\{byte:02x}" for byte in content)
    return f"[{len(content)} x i8]", f'c"{text}"'
