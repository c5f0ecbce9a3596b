"""Operands that are addresses of a kernel, which its loader changes wherever the kernel lies.

Kernels for x86 are linked to the top of the address space: below its end by 2 GiB in 64-bit mode,
where addresses are 32 bits that are sign-extended, and by 1 GiB elsewhere. They hold such addresses
in their code, so one that chooses where it runs (KASLR) has other code in each boot. What a
program has as displacements and immediates is hardly ever so large.

Linux adds the distance to words of 32 and 64 bits, and takes it from those by which variables of a
CPU are addressed relative to RIP (arch/x86/tools/relocs.c).
"""

from __future__ import annotations

from collections.abc import Mapping

from ..describe import Decoded
from .fields import FIELDS, RIP
from .opcode_maps import FORCED_64, IMMEDIATES
from .scan import GS

__all__ = ["relocated"]

_WORD = 4
"""Bytes of the part of an operand that is left open, also where it has 64 bits."""


def relocated(decoded: Decoded) -> dict[str, int]:
    """See `Isa`."""
    fields = _fields(decoded)
    size = _immediate_size(fields)
    found = dict[str, int]()
    if _is_displacement(fields):
        found["disp"] = decoded.length - size - _WORD
    if size >= _WORD and _is_immediate(fields, size):
        found["imm"] = decoded.length - size
    return found


def _fields(decoded: Decoded) -> dict[str, int]:
    """All fields of an instruction's word, those too that its row has as literals."""
    word, fields = decoded.insn.pattern.encode(decoded.fields), dict[str, int]()
    for name, width in FIELDS.items():
        fields[name] = word & (1 << width) - 1
        word >>= width
    return fields


def _immediate_size(fields: Mapping[str, int]) -> int:
    """Bytes of the immediate."""
    opcode = fields["opcode"] | fields["map"] << 8
    osize = fields["osize"]
    if opcode in (0xF6, 0xF7):  # TEST alone has one
        return 0 if fields["middle"] > 1 else 1 if opcode == 0xF6 else _at_most_4(osize)
    sizes = {
        "ib": 1, "iw": 2, "iwb": 3, "iz": _at_most_4(osize), "iv": 2 << osize,
        "moffs": 2 << fields["asize"],
    }  # fmt: skip
    return next((size for name, size in sizes.items() if IMMEDIATES[name] >> opcode & 1), 0)


def _at_most_4(osize: int) -> int:
    return 4 if osize else 2


def _is_displacement(fields: Mapping[str, int]) -> bool:
    """Whether there is a displacement that is an address, or leads from here to a CPU's own."""
    if not fields["memory"]:
        return False
    if fields["base"] == RIP:
        return fields["seg"] == GS and 1 << 30 <= fields["disp"] < 1 << 31
    return _is_address(fields["disp"], fields["long"])


def _is_immediate(fields: Mapping[str, int], size: int) -> bool:
    """Whether an immediate of 4 or 8 bytes is an address, and not the distance of a jump."""
    if FORCED_64 >> (fields["opcode"] | fields["map"] << 8) & 1:
        return False
    if fields["long"] and fields["osize"] != 2:
        return False
    if size > _WORD and fields["high"] != 0xFFFF_FFFF:
        return False
    return _is_address(fields["imm"], fields["long"])


def _is_address(number: int, long: int) -> bool:
    """Whether the low 32 bits are of a place in a kernel."""
    first = 0x8000_0000 if long else 0xC000_0000
    return first <= number < first + (0x4000_0000 if long else 0x2000_0000)
