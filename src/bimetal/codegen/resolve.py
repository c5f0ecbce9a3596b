"""From the object file of a region to its image.

A region refers to nothing outside of itself but a few stubs, whose addresses it takes from a table.
So all other references are resolved once, when it is compiled, and to load it is to copy it, where
LLVM's linker takes half a millisecond for each object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from struct import pack_into

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_RELOC_TYPE_x64
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import Section, Symbol, SymbolTableSection

from .image import HEAD, image

__all__ = ["image_of"]


def image_of(content: bytes, stubs: Sequence[str]) -> bytes:
    """The image of a region, given the content of an object file that has the region as its only
    function, and the symbols of the stubs in the order of their addresses (see `accel.loader`).

    Raises ValueError if the object holds, or refers to, anything that a region has no use for.
    Source: System V ABI, AMD64 supplement, section 4.4.1.
    """
    elf = ELFFile(BytesIO(content))
    code, places = bytearray(HEAD), dict[int, int]()
    for number, section in _kept(elf):
        code += bytes(-len(code) % section["sh_addralign"])
        places[number] = len(code)
        code += section.data()
    symbols = elf.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    for section in elf.iter_sections():
        if isinstance(section, RelocationSection) and section["sh_info"] in places:
            for each in section.iter_relocations():
                where = places[section["sh_info"]] + each["r_offset"]
                symbol, kind = symbols.get_symbol(each["r_info_sym"]), each["r_info_type"]
                size, value = _value(kind, symbol, places, stubs, where)
                value = value + each["r_addend"] & (1 << 8 * size) - 1
                pack_into("<Q" if size == 8 else "<I", code, where, value)
    return image(bytes(code[HEAD:]))


def _kept(elf: ELFFile) -> Iterator[tuple[int, Section]]:
    """Number and section of the code, and then of the constants."""
    sections = [
        (number, section)
        for number, section in enumerate(elf.iter_sections())
        if section["sh_flags"] & SH_FLAGS.SHF_ALLOC and section["sh_size"]
    ]
    for number, section in sorted(sections, key=lambda each: not _is_code(each[1])):
        if section["sh_flags"] & (SH_FLAGS.SHF_WRITE | SH_FLAGS.SHF_TLS):
            raise ValueError(f"a region has variables in {section.name}")
        if section.name != ".eh_frame":  # nothing unwinds a region
            yield number, section


def _is_code(section: Section) -> bool:
    return bool(section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR)


def _value(
    kind: int, symbol: Symbol, places: dict[int, int], stubs: Sequence[str], where: int
) -> tuple[int, int]:
    """The size in bytes of what a relocation of an image's place changes, and the value there
    before the addend. The table is the object's global offset table, at the image's start."""
    types = ENUM_RELOC_TYPE_x64
    if kind == types["R_X86_64_GOTPC64"]:
        return 8, -where
    if kind == types["R_X86_64_GOT64"] and symbol.name in stubs:
        return 8, 8 * stubs.index(symbol.name)
    if symbol["st_shndx"] not in places:
        raise ValueError(f"a region refers to {symbol.name!r}")
    place = places[symbol["st_shndx"]] + symbol["st_value"]
    if kind == types["R_X86_64_GOTOFF64"]:
        return 8, place
    if kind == types["R_X86_64_PC64"]:
        return 8, place - where
    if kind == types["R_X86_64_PC32"]:
        return 4, place - where
    raise ValueError(f"a region is relocated in a way of its own: {kind}")
