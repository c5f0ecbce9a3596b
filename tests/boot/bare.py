"""Bare-metal programs of a few instructions, assembled by the descriptions, as ELF files."""

from __future__ import annotations

import struct
from pathlib import Path

from bimetal.isa.describe import Isa
from bimetal.isa.riscv import rv64

__all__ = ["BASE", "END", "FAIL_WITH_A0", "labelled", "write_program"]

BASE = 0x8000_0000

END = (
    "lui t5, 0x100",  # the test finisher
    "lui t6, 0x5",
    "addi t6, t6, 0x555",
    "sw t6, 0(t5)",
)
"""Switches the machine off with code 0."""

FAIL_WITH_A0 = (
    "lui t5, 0x100",
    "lui t6, 0x3",
    "addi t6, t6, 0x333",
    "slli a0, a0, 16",
    "or t6, t6, a0",
    "sw t6, 0(t5)",
)
"""Switches the machine off with the code in a0, which is not 0."""


def labelled(*lines: str) -> list[str]:
    """The instructions among the lines. Others, which end with a colon, name the place where they
    stand: ``{name}`` is its address, and ``la REGISTER, NAME`` loads it."""
    places: dict[str, int] = {}
    code: list[str] = []
    for line in lines:
        if line.endswith(":"):
            places[line[:-1]] = BASE + 4 * len(code)
        elif line.startswith("la "):
            register, name = line[3:].split(", ")
            far = f"{{{name}_from_{BASE + 4 * len(code)}}}"
            code += [f"auipc {register}, 0", f"addi {register}, {register}, {far}"]
        else:
            code.append(line)
    return [line.format_map(_Places(places)) for line in code]


class _Places(dict[str, int]):
    """Addresses by label, and distances by label and address."""

    def __missing__(self, name: str) -> int:
        label, _, here = name.partition("_from_")
        return self[label] - int(here)


def write_program(
    path: Path, *lines: str | bytes, machine: int = 243, isa: Isa = rv64, base: int = BASE
) -> Path:
    """Write the instructions, or bytes, as an ELF file that starts with the first of them."""
    code = b""
    for line in lines:
        code += line if isinstance(line, bytes) else isa.assemble(line, base + len(code))
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, base, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 7, 120, base, base, len(code), len(code), 4)
    path.write_bytes(header + segment + code)
    return path
