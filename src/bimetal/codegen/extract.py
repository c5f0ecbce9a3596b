"""Taking stencils out of the object that LLVM has made of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import BytesIO
from struct import pack_into

from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_RELOC_TYPE_x64
from elftools.elf.relocation import Relocation, RelocationSection
from elftools.elf.sections import SymbolTableSection

from .hole import COLD_BASE, Filling, Hole, Stencil
from .stencil import COLD, NEXT

__all__ = ["stencils_in"]

LARGEST = 256
"""Bytes of the largest stencil that is used: where instructions take long, records cost little."""

JUMP = 0xE9
"""The host's jump to a distance of 32 bits. As the last instruction of a stencil it is left out."""

_SIZES = {
    ENUM_RELOC_TYPE_x64[f"R_X86_64_{name}"]: size
    for name, size in (("64", 8), ("32", 4), ("32S", 4), ("8", 1), ("PC32", 4), ("PLT32", 4))
}


def stencils_in(content: bytes) -> dict[str, Stencil]:
    """The stencils in the object of a `stencil_module`, by symbol, but for those that refer to
    constants elsewhere in it or are too large to be worth it.

    Raises ValueError for a relocation of an unknown kind.
    Source: System V ABI, AMD64 supplement, section 4.4.1.
    """
    elf = ELFFile(BytesIO(content))
    symbols = elf.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    text = elf.get_section_index(".text")
    code = elf.get_section(text).data()
    places = sorted(_relocations(elf, text), key=lambda each: int(each["r_offset"]))
    offsets = [int(each["r_offset"]) for each in places]
    found = {}
    for symbol in symbols.iter_symbols():
        if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_shndx"] == text:
            start, end = symbol["st_value"], symbol["st_value"] + symbol["st_size"]
            mine = places[bisect_left(offsets, start) : bisect_left(offsets, end)]
            stencil = _stencil(code[start:end], start, mine, symbols)
            if stencil is not None:
                found[symbol.name] = stencil
    return found


def _relocations(elf: ELFFile, text: int) -> Iterator[Relocation]:
    for section in elf.iter_sections():
        if isinstance(section, RelocationSection) and section["sh_info"] == text:
            yield from section.iter_relocations()


def _stencil(
    code: bytes, start: int, relocations: Iterable[Relocation], symbols: SymbolTableSection
) -> Stencil | None:
    """The stencil at an offset of its section."""
    holes, following = [], []
    for each in relocations:
        at, addend = each["r_offset"] - start, each["r_addend"]
        name, size = symbols.get_symbol(each["r_info_sym"]).name, _SIZES[each["r_info_type"]]
        if name == NEXT:
            following.append((at, addend))
        elif name == COLD:
            holes.append(Hole(at, size, Filling(COLD_BASE, addend)))
        elif name.startswith("hole."):
            filling = Filling.of_symbol(name)
            holes.append(Hole(at, size, replace(filling, addend=filling.addend + addend)))
        else:
            return None
    end = len(code)
    if following and following[-1][0] == end - 4 and code[end - 5] == JUMP:
        following.pop()
        end -= 5
    filled = bytearray(code[:end])
    for at, addend in following:
        pack_into("<i", filled, at, end + addend - at)
    return Stencil(bytes(filled), tuple(holes)) if end <= LARGEST else None
