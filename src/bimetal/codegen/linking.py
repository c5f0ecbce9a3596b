"""From objects to one image of a library, which is loaded by copying it (`library`).

All references inside it are resolved once. What is left to do for each process are the addresses:
of functions of the C library, and of the words that hold an address of the image itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from struct import pack_into

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_RELOC_TYPE_x64
from elftools.elf.relocation import Relocation, RelocationSection
from elftools.elf.sections import Section, Symbol, SymbolTableSection

from .library import WORD, pack_library

__all__ = ["link"]

_TYPES = {number: name.removeprefix("R_X86_64_") for name, number in ENUM_RELOC_TYPE_x64.items()}
_BY_TABLE = {"GOTPCREL", "GOTPCRELX", "REX_GOTPCRELX"}
_DISTANCES = {"PC32": 4, "PLT32": 4, "PC64": 8}

LOAD, LOAD_ADDRESS = 0x8B, 0x8D
"""The host's instructions that load a word, and the address of it."""

RELOCATED = ".data.rel.ro"
"""What begins the names of sections with constants that hold addresses."""

JUMP_BY_TABLE = b"\xff\x25"
"""The host's jump to where a word at a distance says, of 32 bits, which follows."""
STEP = 8
"""Bytes for each of these jumps."""


def link(objects: Sequence[bytes], exported: Iterable[str]) -> bytes:
    """The image of a library of these objects, in which the ``exported`` symbols can be found.

    Raises ValueError for a symbol that several objects have or none does, and for what no library
    of ours needs.
    Source: System V ABI, AMD64 supplement, section 4.4.1.
    """
    linker = _Linker([_Object(content) for content in objects])
    linker.resolve()
    return linker.library(exported)


class _Object:
    """An object: what of it is kept, and where in the image that is."""

    def __init__(self, content: bytes):
        self.elf = ELFFile(BytesIO(content))
        symbols = self.elf.get_section_by_name(".symtab")
        assert isinstance(symbols, SymbolTableSection)
        self.symbols = list(symbols.iter_symbols())
        self.places = dict[int, int]()

    def kept(self, code: bool) -> Iterator[tuple[int, Section]]:
        """Number and section of what is code, or of all else."""
        for number, section in enumerate(self.elf.iter_sections()):
            flags = section["sh_flags"]
            if not flags & SH_FLAGS.SHF_ALLOC or not section["sh_size"]:
                continue
            if section.name == ".eh_frame":  # nothing unwinds what is in a library
                continue
            relocated = section.name.startswith(RELOCATED)
            if flags & (SH_FLAGS.SHF_WRITE | SH_FLAGS.SHF_TLS) and not relocated:
                raise ValueError(f"a library has variables in {section.name}")
            if bool(flags & SH_FLAGS.SHF_EXECINSTR) is code:
                yield number, section

    def relocations(self) -> Iterator[tuple[int, Relocation]]:
        """The places of relocations, and these."""
        for section in self.elf.iter_sections():
            if isinstance(section, RelocationSection) and section["sh_info"] in self.places:
                start = self.places[section["sh_info"]]
                for each in section.iter_relocations():
                    yield start + each["r_offset"], each

    def place(self, symbol: Symbol) -> int | None:
        """Where a symbol of this object is; None if it is not in what is kept."""
        start = self.places.get(symbol["st_shndx"])
        return None if start is None else start + symbol["st_value"]


class _Linker:
    """An image that is being put together."""

    def __init__(self, objects: Sequence[_Object]):
        self._objects, self._image = objects, bytearray()
        self._words: list[int] = []
        self._outside: dict[str, int] = {}
        self._slots: dict[int | str, int] = {}
        self._jumps: dict[str, int] = {}
        self._places: dict[str, int] = {}
        for code in (True, False):
            for each in objects:
                for number, section in each.kept(code):
                    each.places[number] = self._add(section.data(), section["sh_addralign"])
        for each in objects:
            for symbol in each.symbols:
                self._define(each, symbol)

    def _add(self, content: bytes, alignment: int) -> int:
        self._image += bytes(-len(self._image) % alignment)
        self._image += content
        return len(self._image) - len(content)

    def _define(self, owner: _Object, symbol: Symbol) -> None:
        place = owner.place(symbol)
        if symbol["st_info"]["bind"] == "STB_GLOBAL" and place is not None:
            if symbol.name in self._places:
                raise ValueError(f"two objects define {symbol.name}")
            self._places[symbol.name] = place

    def library(self, exported: Iterable[str]) -> bytes:
        """The image, for `Library`."""
        wanted = tuple(exported)
        if missing := [name for name in wanted if name not in self._places]:
            raise ValueError(f"no object defines {missing[0]}")
        symbols = {name: self._places[name] for name in wanted}
        return pack_library(bytes(self._image), symbols, self._outside, sorted(self._words))

    def resolve(self) -> None:
        """Fill in all references."""
        for each in self._objects:
            for where, relocation in each.relocations():
                self._fill(each, where, relocation)

    def _fill(self, owner: _Object, where: int, relocation: Relocation) -> None:
        symbol = owner.symbols[relocation["r_info_sym"]]
        place = owner.place(symbol)
        if place is None:
            place = self._places.get(symbol.name)
        kind, addend = _TYPES[relocation["r_info_type"]], relocation["r_addend"]
        if kind == "64" and place is not None:
            self._write(where, place + addend, 8)
            self._words.append(_aligned(where))
        elif kind in _BY_TABLE:
            if place is not None and self._image[where - 2] == LOAD:
                self._image[where - 2] = LOAD_ADDRESS
                self._write(where, place + addend - where, 4)
            else:
                self._write(where, self._slot(symbol.name, place) + addend - where, 4)
        elif kind in _DISTANCES:
            target = self._jump(symbol.name) if place is None else place
            self._write(where, target + addend - where, _DISTANCES[kind])
        else:
            raise ValueError(f"{symbol.name!r} is referred to in an unknown way: {kind}")

    def _write(self, where: int, value: int, size: int) -> None:
        pack_into("<q" if size == 8 else "<i", self._image, where, value)

    def _slot(self, name: str, place: int | None) -> int:
        """The word that holds the address of a symbol."""
        key = name if place is None else place
        if key not in self._slots:
            self._slots[key] = at = self._add((place or 0).to_bytes(WORD, "little"), WORD)
            if place is None:
                self._outside[name] = at
            else:
                self._words.append(at)
        return self._slots[key]

    def _jump(self, name: str) -> int:
        """A jump to a symbol of the C library."""
        if name not in self._jumps:
            slot = self._slot(name, None)
            self._jumps[name] = at = self._add(JUMP_BY_TABLE.ljust(STEP, b"\0"), STEP)
            self._write(at + len(JUMP_BY_TABLE), slot - (at + len(JUMP_BY_TABLE) + 4), 4)
        return self._jumps[name]


def _aligned(where: int) -> int:
    if where % WORD:
        raise ValueError("an address is stored at no multiple of eight")
    return where
