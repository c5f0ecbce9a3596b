"""Taking stencils, and the constants that they refer to, out of the objects that LLVM has made."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from io import BytesIO
from struct import pack_into

from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_RELOC_TYPE_x64
from elftools.elf.relocation import Relocation, RelocationSection
from elftools.elf.sections import Symbol, SymbolTableSection
from msgspec.structs import replace

from .hole import COLD_BASE, CONSTANTS_BASE, Filling, Hole, Stencil, Stencils
from .stencil import COLD, NEXT

__all__ = ["ALIGNED", "stencils_in"]

LARGEST = 256
"""Bytes of the largest stencil that is used: where instructions take long, records cost little."""

ALIGNED = 64
"""What the addresses of constants are multiples of at most: the host's vectors."""

JUMP = 0xE9
"""The host's jump to a distance of 32 bits. As the last instruction of a stencil it is left out."""

_SIZES = {
    ENUM_RELOC_TYPE_x64[f"R_X86_64_{name}"]: size
    for name, size in (("64", 8), ("32", 4), ("32S", 4), ("8", 1), ("PC32", 4), ("PLT32", 4))
}


def stencils_in(objects: Iterable[bytes]) -> Stencils:
    """The stencils in the objects of `stencil_module`s, but for those that refer to tables of jumps
    or are too large to be worth it.

    Raises ValueError for a relocation of an unknown kind.
    Source: System V ABI, AMD64 supplement, section 4.4.1.
    """
    found, constants = dict[str, Stencil](), _Constants()
    for content in objects:
        found.update(_Object(content, constants).stencils())
    return Stencils(found, bytes(constants.content))


class _Constants:
    """The constants of all stencils."""

    def __init__(self) -> None:
        self.content = bytearray()
        self._places: dict[bytes, int] = {}

    def place(self, section: bytes) -> int:
        """The offset of a section's content, which is added if it is new."""
        if section not in self._places:
            self._places[section] = len(self.content)
            self.content += section + bytes(-len(section) % ALIGNED)
        return self._places[section]


class _Object:
    """An object of stencils."""

    def __init__(self, content: bytes, constants: _Constants):
        self._elf, self._constants = ELFFile(BytesIO(content)), constants
        symbols = self._elf.get_section_by_name(".symtab")
        assert isinstance(symbols, SymbolTableSection)
        self._symbols, self._text = symbols, self._elf.get_section_index(".text")
        self._code = self._elf.get_section(self._text).data()

    def stencils(self) -> Iterator[tuple[str, Stencil]]:
        """The stencils that are of use, with their symbols."""
        places = self._relocations(self._text)
        offsets = [int(each["r_offset"]) for each in places]
        for symbol in self._symbols.iter_symbols():
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_shndx"] == self._text:
                start, end = symbol["st_value"], symbol["st_value"] + symbol["st_size"]
                mine = places[bisect_left(offsets, start) : bisect_left(offsets, end)]
                stencil = self._stencil(start, end, mine)
                if stencil is not None:
                    yield symbol.name, stencil

    def _relocations(self, section: int) -> list[Relocation]:
        """The relocations of a section, in the order of their places."""
        tables = (each for each in self._elf.iter_sections() if each["sh_info"] == section)
        found = (
            relocation
            for table in tables
            if isinstance(table, RelocationSection)
            for relocation in table.iter_relocations()
        )
        return sorted(found, key=lambda each: int(each["r_offset"]))

    def _stencil(self, start: int, end: int, relocations: Iterable[Relocation]) -> Stencil | None:
        """The stencil at these offsets of the code."""
        holes, following = [], []
        for each in relocations:
            at, addend = each["r_offset"] - start, each["r_addend"]
            symbol, size = self._symbols.get_symbol(each["r_info_sym"]), _SIZES[each["r_info_type"]]
            if symbol.name == NEXT:
                following.append((at, addend))
                continue
            filling = self._filling(symbol)
            if filling is None:
                return None
            holes.append(Hole(at, size, replace(filling, addend=filling.addend + addend)))
        size = end - start
        if following and following[-1][0] == size - 4 and self._code[end - 5] == JUMP:
            following.pop()
            size -= 5
        code = bytearray(self._code[start : start + size])
        for at, addend in following:
            pack_into("<i", code, at, size + addend - at)
        return Stencil(bytes(code), tuple(holes)) if size <= LARGEST else None

    def _filling(self, symbol: Symbol) -> Filling | None:
        """What belongs into a hole for a symbol, besides the relocation's addend."""
        if symbol.name == COLD:
            return Filling(COLD_BASE)
        if symbol.name.startswith("hole."):
            return Filling.of_symbol(symbol.name)
        section = symbol["st_shndx"]
        if not isinstance(section, int) or section == self._text or self._relocations(section):
            return None
        place = self._constants.place(self._elf.get_section(section).data())
        return Filling(CONSTANTS_BASE, place + symbol["st_value"])
